"""The OpenAPI 3.1 document of everything under /api/, made from the resources themselves (drf-spectacular)."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import orjson
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerFieldExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from core.api.filters import Filter
from core.api.resource import Resource
from core.api.views import MAX_LIMIT, ListView, ResourceView

Schema = dict[str, Any]
_ACTIONS = {
    (True, "GET"): "list", (True, "POST"): "create", (True, "PUT"): "bulk_update",
    (True, "PATCH"): "bulk_partial_update", (True, "DELETE"): "bulk_destroy", (False, "GET"): "retrieve",
    (False, "PUT"): "update", (False, "PATCH"): "partial_update", (False, "DELETE"): "destroy",
}  # fmt: skip
_REFUSED: dict[int, str] = {
    400: "Something of the request cannot be used; the answer names it.",
    401: "No token, or one that is not known, has expired, or may not be used from here.",
    403: "The role of the token or user is not enough.",
    404: "There is nothing of that id in the team.",
    406: "Only JSON is served.",
    429: "Too many requests in this minute; Retry-After says when to go on.",
}
_REFUSED_WRITES: dict[int, str] = {
    409: "Something else needs it, or changed at the same time.",
    412: "If-Match names another version than the one there is.",
    415: "Send JSON.",
}
_KINDS: dict[str, Schema] = {
    "string": {"type": "string"}, "integer": {"type": "integer"}, "number": {"type": "number"},
    "boolean": {"type": "boolean"}, "date-time": {"type": "string", "format": "date-time"},
    "ip": {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
}  # fmt: skip
ERROR: Schema = {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}


class ResourceSchema(AutoSchema):
    """One operation of a resource's list or detail; of any other view what its `extend_schema` says."""

    def _resource(self) -> type[Resource] | None:
        return self.view.resource if isinstance(self.view, ResourceView) else None

    def _listed(self) -> bool:
        return isinstance(self.view, ListView)

    def _is_list_view(self, serializer: Any = None) -> bool:
        return False

    def get_operation_id(self) -> str:
        resource = self._resource()
        if resource is None:
            return super().get_operation_id()
        name = f"{resource.room()}_{resource.plural.replace('-', '_')}"
        return f"{name}_{_ACTIONS[self._listed(), self.method]}"

    def get_tags(self) -> list[str]:
        return [self.path.split("/")[2]]

    def get_override_parameters(self) -> list[Any]:
        resource = self._resource()
        if resource is None:
            return super().get_override_parameters()
        if self.method != "GET":
            return (
                []
                if self._listed()
                else [_parameter("If-Match", "the ETag of what was read", {"type": "string"}, "header")]
            )
        names = sorted(resource.readable())
        several = {"type": "string", "pattern": f"^({'|'.join(names)})(,({'|'.join(names)}))*$"}
        shown = [
            _parameter("fields", "only these fields, with commas", several),
            _parameter("omit", "all but these fields, with commas", several),
            _parameter("brief", "1 for the brief form", {"enum": ["0", "1", "true", "false"]}),
        ]
        return [*shown, *_listing(resource)] if self._listed() else shown

    def get_request_serializer(self) -> Any:
        resource = self._resource()
        if resource is None:
            return super().get_request_serializer()
        one = self.resolve_serializer(resource.row(partial=self.method == "PATCH"), "request").ref
        if not self._listed():
            return {"application/json": one}
        by_id = {"type": "object", "properties": {"id": {"type": "integer", "minimum": 1}}, "required": ["id"]}
        match self.method:
            case "POST":
                return {"application/json": {"oneOf": [one, _several(one)]}}
            case "DELETE":
                return {"application/json": _several(by_id)}
            case _:
                return {"application/json": _several({"allOf": [by_id, one]})}

    def get_response_serializers(self) -> Any:
        resource = self._resource()
        if resource is None:
            return super().get_response_serializers()
        shown = self.resolve_serializer(resource.row(), "response").ref
        listed = {"type": "array", "items": shown}
        answer: dict[tuple[int, str], Any]
        match self.method:
            case "GET":
                answer = {(200, "application/json"): _page(shown) if self._listed() else shown}
            case "POST":
                answer = {(201, "application/json"): {"oneOf": [shown, listed]}}
            case "DELETE":
                answer = {(204, "application/json"): None}
            case _:
                answer = {(200, "application/json"): listed if self._listed() else shown}
        return answer

    def _get_response_bodies(self, direction: Any = "response") -> Schema:
        bodies: Schema = super()._get_response_bodies(direction)
        refused = _REFUSED | (_REFUSED_WRITES if self.method != "GET" else {})
        for status, sentence in refused.items():
            bodies[str(status)] = {"description": sentence, "content": {"application/json": {"schema": ERROR}}}
        return bodies

    def _get_request_body(self, direction: Any = "request") -> Schema | None:
        """Also for a DELETE of a list, which OpenAPI 3.1 allows."""
        if self.method == "DELETE" and self._listed():
            content = {media: {"schema": schema} for media, schema in self.get_request_serializer().items()}
            return {"content": content, "required": True}
        body: Schema | None = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        if body and self._resource():
            body["required"] = True
        return body

    def _get_serializer_name(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> str:
        return str(super()._get_serializer_name(serializer, direction, bypass_extensions)).replace("Row", "")

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Schema:
        mapped: Schema = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        mapped.pop("description", None)  # what Row says of itself
        if direction == "response" and self._resource():
            mapped.pop("required", None)  # `?fields=` and `?omit=` may leave any of them out
        return mapped


def _parameter(
    name: str, description: str, schema: Schema, where: Literal["query", "header"] = "query"
) -> OpenApiParameter:
    return OpenApiParameter(name, schema, where, description=description)


def _listing(resource: type[Resource]) -> list[OpenApiParameter]:
    orders = "|".join(sorted(resource.orders()))
    whole: Schema = {"type": "integer", "minimum": 0, "maximum": 2**62}
    ordering: Schema = {"type": "string", "pattern": f"^-?({orders})(,-?({orders}))*$"}
    found = [
        _parameter("limit", f"rows a page, 50 by default; 0 for the most, {MAX_LIMIT}", whole),
        _parameter("offset", "rows to pass over", whole),
        _parameter("start", "the page that begins at this id, in the order of ids, not counted", whole),
        _parameter("ordering", "fields with commas, - before one to reverse", ordering),
    ]
    if resource.search:
        found.append(_parameter("q", f"text in {', '.join(resource.search)}", {"type": "string"}))
    return found + [_filter(name, each) for name, each in sorted(resource.filters().items())]


def _filter(name: str, each: Filter) -> OpenApiParameter:
    schema = _KINDS[each.kind] if not each.split else {"type": "string"}
    repeated = not each.split and not each.blank and each.kind != "boolean"
    return OpenApiParameter(
        name,
        {"type": "array", "items": schema, "maxItems": 50} if repeated else schema,
        "query",
        explode=repeated or None,
    )


def _page(shown: Schema) -> Schema:
    url = {"type": ["string", "null"], "format": "uri"}
    return {
        "type": "object",
        "required": ["count", "next", "previous", "results"],
        "properties": {
            "count": {"type": ["integer", "null"]}, "next": url, "previous": url,
            "results": {"type": "array", "items": shown},
        },
    }  # fmt: skip


def _several(one: Schema) -> Schema:
    return {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_LIMIT}


class _Field(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """A field of core.api.fields, on the way in and on the way out."""

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> Schema:
        written = direction == "request" and not self.target.read_only
        return self.written() if written else self.read(auto_schema)

    def written(self) -> Schema:
        raise NotImplementedError

    def read(self, auto_schema: AutoSchema) -> Schema:
        raise NotImplementedError


class ChoiceSchema(_Field):  # type: ignore[no-untyped-call]
    target_class = "core.api.fields.Choice"

    def written(self) -> Schema:
        return {"type": "string", "enum": list(self.target.choices)}

    def read(self, auto_schema: AutoSchema) -> Schema:
        # A value that a newer version wrote is shown as it is.
        text = {"type": "string"}
        return {
            "type": ["object", "null"],
            "properties": {"value": text, "label": text},
            "required": ["value", "label"],
        }


class RefSchema(_Field):  # type: ignore[no-untyped-call]
    target_class = "core.api.fields.Ref"

    def written(self) -> Schema:
        return _reference(self.target)

    def read(self, auto_schema: AutoSchema) -> Schema:
        column = self.target.parent.Meta.model._meta.get_field(self.target.source)
        # A row that was learned may have none where one that is written needs it.
        nothing = [{"type": "null"}] if column.null and not self.target.allow_null else []
        return {"anyOf": [_brief(auto_schema, self.target), *nothing]}


class RefsSchema(_Field):  # type: ignore[no-untyped-call]
    target_class = "core.api.fields.Refs"

    def written(self) -> Schema:
        return {"type": "array", "items": _reference(self.target.child_relation), "minItems": 1}

    def read(self, auto_schema: AutoSchema) -> Schema:
        return {"type": "array", "items": _brief(auto_schema, self.target.child_relation)}


class UrlSchema(_Field):  # type: ignore[no-untyped-call]
    target_class = "core.api.fields.Url"

    def read(self, auto_schema: AutoSchema) -> Schema:
        return {"type": "string", "format": "uri"}


class DisplaySchema(_Field):  # type: ignore[no-untyped-call]
    target_class = "core.api.fields.Display"

    def read(self, auto_schema: AutoSchema) -> Schema:
        return {"type": "string"}


def _reference(field: Any) -> Schema:
    keys = sorted(field.resource().natural_keys())
    by_key = [
        {"type": "object", "properties": {key: {"type": "string"}}, "required": [key], "additionalProperties": False}
        for key in keys
    ]
    by_id: Schema = {"type": "integer", "minimum": 1}
    return {"anyOf": [by_id, *by_key]}


def _brief(auto_schema: AutoSchema, field: Any) -> Schema:
    ref: Schema = auto_schema.resolve_serializer(brief_row(field.resource()), "response").ref
    return ref


@cache
def brief_row(resource: type[Resource]) -> type[serializers.Serializer[Any]]:
    """The serializer of a resource's brief form, for the document alone."""
    names = tuple(dict.fromkeys(("id", *resource.row.Meta.brief)))
    meta = type("Meta", (resource.row.Meta,), {"fields": names, "read_only_fields": (), "extra_kwargs": {}})
    return type(f"Brief{resource.row.__name__}", (resource.row,), {"Meta": meta})


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "tenancy.api.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> Schema:
        return {"type": "http", "scheme": "bearer", "description": "`key.secret`, also as `Authorization: Token …`"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "tenancy.api.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> Schema:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "with X-Team where one has several",
        }


@cache
def document() -> bytes:
    """The whole document as JSON; made once a process."""
    made = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return orjson.dumps(made, default=str)


def only_api(endpoints: list[tuple[str, str, str, Any]], **_: Any) -> list[tuple[str, str, str, Any]]:
    """The doors in other dialects (the NetBox facade, metrics) have documents of their own."""
    return [each for each in endpoints if each[0].startswith("/api/")]
