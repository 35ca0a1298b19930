"""Reports of errors (Django's page under NETOPS_DEBUG, its mail) without what must not stand in them."""

from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from core.redaction import redacted


class NoVariables(SafeExceptionReporterFilter):
    """Lines of code, never values: those of an agent's door are its token, its key and its signature."""

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> Any:
        return []


class Reporter(ExceptionReporter):
    def get_traceback_html(self) -> SafeString:
        return SafeString(redacted(super().get_traceback_html()))

    def get_traceback_text(self) -> SafeString:
        return SafeString(redacted(super().get_traceback_text()))
