"""What must not stand in a log, wherever it comes from: tokens that are part of an address, and join tokens."""

import logging
import re

_SECRET = re.compile(r"(?<=/picon/)[^/\s\"']+|\b[0-9a-f]{32}\.[0-9A-Za-z_-]{43}(?![0-9A-Za-z_-])")


def redacted(text: str) -> str:
    return _SECRET.sub("…", text)


class Redacting(logging.Formatter):
    """Each line and each traceback without them."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))
