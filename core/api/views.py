"""The two views of every resource: its list (with bulk writes) and its detail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.db import transaction
from django.http import HttpResponseBase
from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.api import filters
from core.api.errors import Conflict, PreconditionFailed, translated
from core.api.resource import Resource
from core.count import counted, page_of
from core.search import matching

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
_NOT_FILTERS = {"limit", "offset", "start", "ordering", "q", "fields", "omit", "brief", "format"}


class ResourceView(APIView):
    resource: ClassVar[type[Resource]]

    @property
    def reading(self) -> str:
        return self.resource.reading

    @property
    def capability(self) -> str:
        own = {"POST": self.resource.creating, "DELETE": self.resource.deleting}.get(self.request.method or "")
        return own or self.resource.capability

    def who(self) -> dict[str, Request]:
        return {"request": self.request} if self.resource.takes_request else {}

    def not_found(self, pk: Any) -> exceptions.NotFound:
        return exceptions.NotFound(f"There is no {self.resource.noun()} {pk}.")


class ListView(ResourceView):
    """GET lists; POST, PATCH, PUT and DELETE take one object or a list of them, all or nothing."""

    def get(self, request: Request) -> Response:
        asked = dict(request.query_params.lists())
        _no_nul(asked)
        resource, single = self.resource, {name: values[-1] for name, values in asked.items()}
        known = resource.filters()
        if unknown := sorted(set(asked) - _NOT_FILTERS - set(known)):
            raise exceptions.ValidationError({name: [_unknown(name, known)] for name in unknown})
        rows = filters.narrowed(
            resource.rows(), {name: values for name, values in asked.items() if name not in _NOT_FILTERS}, known
        )
        if text := single.get("q", "").strip():
            rows = matching(rows, resource.search, text)
        plan = resource.plan_for(single)
        limit = number(single, "limit", DEFAULT_LIMIT)
        limit = min(limit or MAX_LIMIT, MAX_LIMIT)
        if "start" in single:
            return self._after(request, rows, plan, single, limit)
        offset = number(single, "offset", 0)
        order = [name for name in single.get("ordering", "").split(",") if name]
        count = counted(rows)
        ordered = resource.ordered(rows, order or resource.ordering)
        page = page_of(ordered, offset, limit).values_list(*plan.lookups)
        return Response(
            {
                "count": count,
                "next": _link(request, limit=limit, offset=offset + limit) if offset + limit < count else None,
                "previous": _link(request, limit=limit, offset=max(0, offset - limit)) if offset else None,
                "results": plan.rows(page, request),
            }
        )

    def _after(self, request: Request, rows: Any, plan: Any, single: dict[str, str], limit: int) -> Response:
        """The page that begins at id `start`, in the order of ids; not counted, so as fast at the end as at the start.

        As in NetBox 4.6: `count` and `previous` are null, `next` is there while there is more.
        """
        for name in ("offset", "ordering"):
            if name in single:
                raise exceptions.ValidationError({name: [f"A list by start is in the order of ids: leave {name} out."]})
        found = rows.filter(pk__gte=number(single, "start", 0)).order_by("pk")
        page = list(found.values_list("pk", *plan.lookups)[: limit + 1])
        following = _link(request, limit=limit, start=page[limit][0]) if len(page) > limit else None
        results = plan.rows((values[1:] for values in page[:limit]), request)
        return Response({"count": None, "next": following, "previous": None, "results": results})

    def post(self, request: Request) -> Response:
        rows, many = self._each(request, self._create)
        shown = self.resource.shown([row.pk for row in rows], request)
        shown = [row | getattr(made, "shown_once", {}) for row, made in zip(shown, rows, strict=True)]
        headers = {} if many else {"Location": self.resource.url_of(rows[0].pk, request)}
        return Response(shown if many else shown[0], status=status.HTTP_201_CREATED, headers=headers)

    def patch(self, request: Request) -> Response:
        return self._update(request, partial=True)

    def put(self, request: Request) -> Response:
        return self._update(request, partial=False)

    def delete(self, request: Request) -> Response:
        found = self._locked(request)
        self._each(request, lambda item: self.resource.delete(_of(found, item), **self.who()), listed=True)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _create(self, item: Any) -> Any:
        asked = self.resource.row(data=item, context={"request": self.request})
        asked.is_valid(raise_exception=True)
        return self.resource.create(**asked.validated_data, **self.who())

    def _update(self, request: Request, *, partial: bool) -> Response:
        found = self._locked(request)

        def change(item: Any) -> Any:
            return changed(self, _of(found, item), item, partial=partial)

        rows, _ = self._each(request, change, listed=True)
        return Response(self.resource.shown([row.pk for row in rows], request))

    def _locked(self, request: Request) -> dict[int, Any]:
        """The rows that a list of objects with ids speaks of, locked in the order of ids."""
        items: list[Any] = request.data if isinstance(request.data, list) else []
        ids = {item["id"] for item in items if isinstance(item, dict) and _is_id(item.get("id"))}
        rows = self.resource.rows().filter(pk__in=ids).order_by("pk").select_for_update(of=("self",), no_key=True)
        return {row.pk: row for row in rows}

    def _each(self, request: Request, do: Callable[[Any], Any], *, listed: bool = False) -> tuple[list[Any], bool]:
        """Do it to each object of the body; where one fails nothing is done and each gets its errors."""
        data = request.data
        many = isinstance(data, list)
        if listed and not many:
            raise _refused("Send a list of objects, each with its id; or use the address of one.")
        items: list[Any] = data if isinstance(data, list) else [data]
        if not items or len(items) > MAX_LIMIT:
            raise _refused(f"Send a list of 1 to {MAX_LIMIT} objects.")
        if listed:
            _no_twins(items)
        done: list[Any] = []
        errors: list[exceptions.APIException | None] = []
        for item in items:
            try:
                with transaction.atomic():
                    done.append(do(item))
                errors.append(None)
            except Exception as error:
                told = translated(error)
                if not many or not isinstance(told, exceptions.APIException):
                    raise
                errors.append(told)
        if failed := [error for error in errors if error is not None]:
            kind = Conflict if all(isinstance(error, Conflict) for error in failed) else exceptions.ValidationError
            raise kind([_detail(error) for error in errors])
        return done, many


class DetailView(ResourceView):
    """GET with an ETag; PATCH, PUT and DELETE refuse with 412 where If-Match names another one."""

    def get(self, request: Request, pk: int) -> Response:
        asked = {name: str(value) for name, value in request.query_params.items()}
        if unknown := sorted(set(asked) - {"fields", "omit", "brief", "format"}):
            raise exceptions.ValidationError({name: ["Use fields, omit or brief."] for name in unknown})
        plan = self.resource.plan_for(asked)
        found = self.resource.rows().filter(pk=pk).values_list(*plan.lookups).first()
        if found is None:
            raise self.not_found(pk)
        headers = {"ETag": self.resource.etag(pk) or ""}
        if headers["ETag"] in _tags(request, "If-None-Match"):
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers=headers)
        return Response(plan.row(found, request), headers=headers)

    def patch(self, request: Request, pk: int) -> Response:
        return self._update(request, pk, partial=True)

    def put(self, request: Request, pk: int) -> Response:
        return self._update(request, pk, partial=False)

    def delete(self, request: Request, pk: int) -> Response:
        row = self._locked(request, pk)
        with transaction.atomic():
            self.resource.delete(row, **self.who())
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _update(self, request: Request, pk: int, *, partial: bool) -> Response:
        row = self._locked(request, pk)
        with transaction.atomic():
            changed(self, row, request.data, partial=partial)
        return Response(self.resource.shown([pk], request)[0], headers={"ETag": self.resource.etag(pk) or ""})

    def _locked(self, request: Request, pk: int) -> Any:
        row = self.resource.rows().filter(pk=pk).select_for_update(of=("self",), no_key=True).first()
        if row is None:
            raise self.not_found(pk)
        wanted = _tags(request, "If-Match")
        if wanted and "*" not in wanted and self.resource.etag(pk) not in wanted:
            raise PreconditionFailed
        return row


def changed(view: ResourceView, row: Any, data: Any, *, partial: bool) -> Any:
    asked = view.resource.row(row, data=data, partial=partial, context={"request": view.request})
    asked.is_valid(raise_exception=True)
    return view.resource.update(row, **asked.validated_data, **view.who()) or row


def list_view(resource: type[Resource]) -> Callable[..., HttpResponseBase]:
    methods = ["get", "head", "options"]
    methods += ["post"] if resource.create else []
    methods += ["put", "patch"] if resource.update else []
    methods += ["delete"] if resource.delete else []
    return _view(ListView, resource, methods)


def detail_view(resource: type[Resource]) -> Callable[..., HttpResponseBase]:
    methods = ["get", "head", "options"]
    methods += ["put", "patch"] if resource.update else []
    methods += ["delete"] if resource.delete else []
    return _view(DetailView, resource, methods)


def _view(base: type[ResourceView], resource: type[Resource], methods: list[str]) -> Callable[..., HttpResponseBase]:
    own = {"resource": resource, "http_method_names": methods, "__doc__": resource.__doc__ or base.__doc__}
    named: Any = type(f"{resource.__name__}{base.__name__}", (base,), own)
    made: Callable[..., HttpResponseBase] = named.as_view()
    return made


def number(asked: dict[str, str], name: str, default: int) -> int:
    text = asked.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise exceptions.ValidationError({name: [f"{text[:40]!r} is not a whole number from 0 up."]})
    return int(text)


def _no_nul(asked: dict[str, list[str]]) -> None:
    if nul := [name for name, values in asked.items() if any("\x00" in value for value in [name, *values])]:
        raise exceptions.ValidationError(
            {name.replace("\x00", ""): ["A NUL character is in no value."] for name in nul}
        )


def _unknown(name: str, known: Any) -> str:
    plain = sorted(each for each in known if "__" not in each)
    return f"There is no filter {name!r} here: use {', '.join(plain)}, or one of these with __n, __in, __ic, __gte …"


def _link(request: Request, **changes: int) -> str:
    query = [(name, value) for name, value in request.query_params.lists() if name not in ("limit", "offset", "start")]
    pairs = [(name, each) for name, values in query for each in values] + [(n, str(v)) for n, v in changes.items()]
    return f"{request.build_absolute_uri(request.path)}?{urlencode(pairs)}"


def _tags(request: Request, header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in request.headers.get(header, "").split(",") if tag.strip()]


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63


def _of(found: dict[int, Any], item: Any) -> Any:
    if not isinstance(item, dict) or not _is_id(item.get("id")):
        raise exceptions.ValidationError({"id": ["Each object of the list needs the id of its row."]})
    if item["id"] not in found:
        raise exceptions.ValidationError({"id": [f"There is no row with the id {item['id']}."]})
    return found[item["id"]]


def _no_twins(items: list[Any]) -> None:
    ids = [item.get("id") for item in items if isinstance(item, dict)]
    if twins := sorted({str(each) for each in ids if each is not None and ids.count(each) > 1}):
        raise exceptions.ValidationError({"id": [f"{', '.join(twins)} is in the list more than once."]})


def _refused(sentence: str) -> exceptions.ValidationError:
    return exceptions.ValidationError({"detail": [sentence]})


def _detail(error: exceptions.APIException | None) -> Any:
    if error is None:
        return {}
    return error.detail if isinstance(error.detail, dict) else {"detail": error.detail}
