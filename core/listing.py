"""A table whose search, filter, sort and page live in the URL, filled from values()."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.db import models
from django.http import HttpRequest

from core.count import counted, counted_to
from core.search import matching

PER_PAGE = 50
# Nobody turns more pages of what was found; a letter more finds less.
MOST_FOUND = 1000


def as_rows(queryset: models.QuerySet[Any, Any]) -> list[dict[str, Any]]:
    """The rows of a values() queryset, to be added to."""
    return list(queryset)


@dataclass(frozen=True)
class Column:
    """`order` is what to sort by (sortable when given); `look` a class of its cells."""

    label: str
    name: str = ""
    order: str = ""
    look: str = ""


@dataclass(frozen=True)
class Heading:
    """A column as it stands in one answer: where a click leads and which way it is sorted (aria-sort)."""

    column: Column
    url: str
    sorted: str


@dataclass
class Listing:
    """One page of `queryset`. Search is by `search` (lookups); a sort or page nobody offers falls back to the first.

    `filters` maps parameters of the URL to their accepted values; the caller narrows the queryset by `chosen`.
    """

    request: HttpRequest
    columns: Sequence[Column]
    search: Sequence[str] = ()
    filters: dict[str, Sequence[str]] = field(default_factory=dict)
    default: str = ""
    per_page: int = PER_PAGE

    def __post_init__(self) -> None:
        get = self.request.GET
        self.q = get.get("q", "").strip()[:100].replace("\0", "")
        self.chosen = {name: get.get(name, "") for name, known in self.filters.items() if get.get(name) in known}
        names = [column.name for column in self.columns if column.order]
        wanted = get.get("sort", "")
        self.sort = wanted if wanted.removeprefix("-") in names else self.default or names[0]
        self.rows: list[dict[str, Any]] = []
        self.count = self.page = 0
        self.more = False

    def fill(self, queryset: models.QuerySet[Any], *fields: str) -> "Listing":
        """Count and fetch: two queries, whatever the number of rows."""
        if self.q:
            queryset = matching(queryset, self.search, self.q)
            found = counted_to(queryset, MOST_FOUND)
            self.count, self.more = min(found, MOST_FOUND), found > MOST_FOUND
        else:
            self.count = counted(queryset)
        text = self.request.GET.get("page", "1")
        wanted = int(text) if text.isdecimal() and len(text) < 9 else 1
        self.page = min(max(wanted, 1), self.pages)
        order = next(column.order for column in self.columns if column.name == self.sort.removeprefix("-"))
        prefix = "-" if self.sort.startswith("-") else ""
        first = (self.page - 1) * self.per_page
        self.rows = list(queryset.order_by(prefix + order, "pk").values(*fields)[first : first + self.per_page])
        return self

    @property
    def pages(self) -> int:
        return max(1, -(-self.count // self.per_page))

    @property
    def first(self) -> int:
        return (self.page - 1) * self.per_page + 1

    @property
    def last(self) -> int:
        return min(self.page * self.per_page, self.count)

    @property
    def narrowed(self) -> bool:
        return bool(self.q or self.chosen)

    @property
    def headings(self) -> list[Heading]:
        return [self._heading(column) for column in self.columns]

    def _heading(self, column: Column) -> Heading:
        if not column.order:
            return Heading(column, "", "")
        direction = {column.name: "ascending", f"-{column.name}": "descending"}.get(self.sort, "none")
        target = f"-{column.name}" if direction == "ascending" else column.name
        return Heading(column, self.url(sort=target, page=""), direction)

    def url(self, **changes: str) -> str:
        """This page's address with some parameters changed; an empty one is left out."""
        query = {"q": self.q, **self.chosen, "sort": self.request.GET.get("sort", ""), "page": str(self.page)}
        query.update(changes)
        kept = {name: value for name, value in query.items() if value and (name, value) != ("page", "1")}
        return f"{self.request.path}?{urlencode(kept)}" if kept else self.request.path

    @property
    def here(self) -> str:
        return self.url()

    @property
    def previous_url(self) -> str:
        return self.url(page=str(self.page - 1)) if self.page > 1 else ""

    @property
    def next_url(self) -> str:
        return self.url(page=str(self.page + 1)) if self.page < self.pages else ""

    @property
    def choices(self) -> dict[str, list[tuple[str, str, bool]]]:
        """For each filter: (value, address, whether it is chosen), the empty value first."""
        return {
            name: [
                (value, self.url(**{name: value, "page": ""}), self.chosen.get(name, "") == value)
                for value in ("", *known)
            ]
            for name, known in self.filters.items()
        }
