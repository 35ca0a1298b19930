"""What a desk driver is: a few verbs, and a declaration of the ones it has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar


class DeskError(Exception):
    """One sentence about why the desk was not told; never holds a secret."""


class DeskRefused(DeskError):
    """The desk says no, and will say so again: repeating is of no use."""


class DeskUnavailable(DeskError):
    """Repeating may help. `down`: the desk itself is away, so its other tickets need not try either.

    `after` is the desk's own wish (Retry-After); `progress` is kept for the next attempt (`Letter.progress`).
    """

    def __init__(
        self,
        sentence: str,
        *,
        down: bool = False,
        after: timedelta | None = None,
        progress: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.down, self.after, self.progress = down, after, progress or {}


@dataclass(frozen=True)
class Letter:
    """One operation as a driver sees it: rendered text, and what keeps a ticket one thread.

    `key` is ours, `<team>/<incident id>/<episode>`; `thread` is the stable start of an id, unique to the ticket;
    `operation` numbers what is told; `subject` is the same for the whole ticket; `remote_id` is empty before create.
    """

    key: str
    thread: str
    operation: int
    remote_id: str
    subject: str
    text: str
    html: str
    progress: Mapping[str, Any]


@dataclass(frozen=True)
class Receipt:
    """The desk has it. `remote_id` is its name for the ticket; `remark` a sentence to keep where something was odd."""

    remote_id: str
    remark: str = ""


class Driver(ABC):
    """A desk with its settings. Verbs raise DeskRefused or DeskUnavailable; anything else is a bug.

    `verbs` declares what the desk can do; an operation that it cannot is recorded as done without being sent.
    A desk with "find" is searched by `Letter.key` before a create is repeated.
    """

    label: ClassVar[str]
    verbs: ClassVar[frozenset[str]]
    secrets: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings

    @classmethod
    @abstractmethod
    def clean(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as stored; raises ValidationError that names the field and the fix."""

    @abstractmethod
    def create(self, letter: Letter) -> Receipt: ...

    def find(self, letter: Letter) -> Receipt | None:
        raise NotImplementedError

    def note(self, letter: Letter) -> Receipt:
        raise NotImplementedError

    def resolve(self, letter: Letter) -> Receipt:
        raise NotImplementedError
