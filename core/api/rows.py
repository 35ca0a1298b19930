"""Row: the serializer that a room declares for a model; says what is shown, what can be written, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from rest_framework import serializers
from rest_framework.validators import UniqueValidator

from core.api.fields import Choice, Display, Ref, Url

if TYPE_CHECKING:
    from core.api.resource import Resource


class Row(serializers.ModelSerializer[Any]):
    """A ModelSerializer whose Meta also knows `brief` (fields of the brief object) and `display` (lookups).

    Uniqueness is left to services and constraints: a validator a field would ask the database for each row of a list.
    What is not a field is refused by name. `registry` is where its references lead, if not to /api/.
    """

    registry: ClassVar[dict[type[models.Model], type[Resource]]] = {}
    serializer_choice_field = Choice
    serializer_related_field = Ref

    url = Url()
    display = Display()

    class Meta:
        model: type[models.Model]
        fields: tuple[str, ...]
        brief: tuple[str, ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.validators = []

    @classmethod
    def resource(cls) -> type[Resource]:
        from core.api.resource import resources

        return (cls.registry or resources)[cls.Meta.model]

    def build_standard_field(self, field_name: str, model_field: Any) -> Any:
        kind, options = super().build_standard_field(field_name, model_field)
        options["validators"] = [
            each for each in options.get("validators", []) if not isinstance(each, UniqueValidator)
        ]
        if not options["validators"]:
            del options["validators"]
        return kind, options

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError({"detail": ["Send a JSON object."]})
        fields = self.fields
        if unknown := sorted(set(data) - set(fields)):
            raise serializers.ValidationError({str(name): ["There is no such field here."] for name in unknown})
        return super().to_internal_value(data)
