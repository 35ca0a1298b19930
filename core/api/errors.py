"""Whatever goes wrong becomes an RFC 9110 status and a sentence that names the field; nothing of it is kept."""

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from rest_framework import exceptions, status, views
from rest_framework.response import Response


class Conflict(exceptions.APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "This does not go with what is there now: read it again."
    default_code = "conflict"


class PreconditionFailed(exceptions.APIException):
    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_detail = "Somebody changed this since you read it: read it again, its ETag is another one now."
    default_code = "precondition_failed"


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's handler, for Django's own errors too."""
    response = views.exception_handler(translated(error), context)
    if response is not None and transaction.get_connection().in_atomic_block:
        transaction.set_rollback(True)
    return response


def translated(error: Exception) -> Exception:
    """An error of a service or of the database as one of DRF's; any other as it is."""
    match error:
        case DjangoValidationError():
            return exceptions.ValidationError(as_detail(error))
        case ProtectedError():
            users = sorted({f"{row._meta.verbose_name} {row}" for row in list(error.protected_objects)[:4]})
            more = len(error.protected_objects) - len(users)
            return Conflict(f"It is in use by {', '.join(users)}{f' and {more} more' if more > 0 else ''}.")
        case IntegrityError():
            return Conflict()
    return error


def as_detail(error: DjangoValidationError) -> Any:
    if hasattr(error, "error_dict"):
        return {"detail" if name == "__all__" else name: list(said) for name, said in error.message_dict.items()}
    return {"detail": error.messages}
