"""Small text helpers."""

import re


def natural_key(name: str) -> str:
    """A key that sorts R2 before R10 in plain byte order, for databases without ICU: digits are padded to ten."""
    return re.sub(r"\d+", lambda digits: digits[0].rjust(10, "0"), name.casefold())[:255]
