"""Reading JSON that a stranger wrote: every field is checked, and what is wrong is named in one sentence."""

from __future__ import annotations

import json
import uuid
from typing import Any, NoReturn

U32 = 2**32 - 1
U64 = 2**64 - 1


class FrameError(ValueError):
    """What a peer sent cannot be used; the text is one sentence that names what is wrong."""


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class Fields:
    """The fields of a JSON object. Each reader raises FrameError naming the field; unknown ones are ignored."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise FrameError(f"{what} must be a JSON object")
        self._fields: dict[str, Any] = value
        self._what = what

    @classmethod
    def parse(cls, payload: bytes, what: str) -> Fields:
        try:
            value = json.loads(payload.decode(), parse_constant=_constant)
        except (ValueError, RecursionError):
            raise FrameError(f"{what} is not JSON") from None
        return cls(value, what)

    def refuse(self, name: str, must: str) -> NoReturn:
        raise FrameError(f"{self._what}: {name} must be {must}")

    def integer(self, name: str, low: int = 0, high: int = U32) -> int:
        value = self._fields.get(name)
        if type(value) is not int or not low <= value <= high:
            self.refuse(name, f"an integer from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float) -> float:
        value = self._fields.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            self.refuse(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def text(self, name: str, limit: int = 255, *, empty: bool = False) -> str:
        """Printable only: what a peer says ends up in logs, terminals and database columns."""
        value = self._fields.get(name)
        low = 0 if empty else 1
        if not isinstance(value, str) or not low <= len(value) <= limit or not value.isprintable():
            self.refuse(name, f"printable text of {low} to {limit} characters")
        return value

    def boolean(self, name: str) -> bool:
        value = self._fields.get(name)
        if not isinstance(value, bool):
            self.refuse(name, "true or false")
        return value

    def uuid(self, name: str) -> uuid.UUID:
        try:
            return uuid.UUID(self.text(name, 36))
        except ValueError:
            self.refuse(name, "a UUID")

    def octets(self, name: str, low: int, high: int) -> bytes:
        """A string of hexadecimal digits for low to high bytes."""
        text = self._fields.get(name)
        try:
            value = bytes.fromhex(text) if isinstance(text, str) else b""
        except ValueError:
            value = b""
        if not low <= len(value) <= high:
            self.refuse(name, f"{low} to {high} bytes in hexadecimal")
        return value

    def array(self, name: str, limit: int) -> list[Any]:
        value = self._fields.get(name)
        if not isinstance(value, list) or len(value) > limit:
            self.refuse(name, f"a list of at most {limit}")
        return value

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def object(self, name: str) -> Fields:
        return Fields(self._fields.get(name), f"{self._what}: {name}")

    def objects(self, name: str, limit: int) -> list[Fields]:
        """A list of JSON objects, each with its place in what is said of it."""
        return [Fields(each, f"{self._what}: {name}[{at}]") for at, each in enumerate(self.array(name, limit))]

    def mapping(self, name: str, limit: int) -> dict[str, Any]:
        value = self._fields.get(name)
        if not isinstance(value, dict) or len(value) > limit:
            self.refuse(name, f"an object of at most {limit} entries")
        return value

    def offsets(self, name: str) -> dict[int, int]:
        """{"<stream>": offset}, streams 32 bit and offsets 64 bit unsigned."""
        result = {}
        for key, offset in self.mapping(name, 1024).items():
            known = key.isascii() and key.isdigit() and len(key) <= 10 and int(key) <= U32
            if not known or type(offset) is not int or not 0 <= offset <= U64:
                self.refuse(name, "an object from stream numbers to offsets")
            result[int(key)] = offset
        return result
