"""A team that remembers what it must have, with every way in: by service, REST, session, and the trail in its forms."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Model
from django.test import Client
from django.test.client import ClientHandler

from agents.models import Agent
from core.scope import team_scope
from inventory import services, written
from inventory.models import Device, Endpoint, Interface, Site
from probing.models import Campaign
from probing.services import campaign_create
from tenancy.models import ApiToken, Team, User
from tenancy.services import member_set, team_create, token_create
from ticketing.models import Desk
from ticketing.services import desk_create

NAMES = ("red", "blue", "green")
KINDS: dict[str, type[Any]] = {
    "sites": Site, "devices": Device, "interfaces": Interface, "endpoints": Endpoint, "desks": Desk,
    "campaigns": Campaign, "tokens": ApiToken,
}  # fmt: skip
LABELS = {plural: model._meta.label_lower for plural, model in KINDS.items()}
FILES = ("csv", "jsonl")
# One handler for all clients: each loads the middleware, and with it every static file.
_HANDLER = ClientHandler(enforce_csrf_checks=False)
_MAIL = {"host": "127.0.0.1", "to": ["noc@example.org"], "sender": "netops@example.org"}


class Side:
    """What it must have is {plural: {id: name}}, and every id it ever had. What it stands on itself is `kept`."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        self.team: Team = team_create(slug=slug, name=f"Team {slug}")
        self.user = User.objects.create(username=f"{slug}-person")
        member_set(team=self.team, user=self.user, role="owner")
        self.session, self.program = _client(), _client()
        self.session.force_login(self.user)
        self.headers = {"Authorization": f"Token {token_create(team=self.team, role='admin', name='n-a')}"}
        self.first: dict[str, dict[int, str]] = {plural: {} for plural in KINDS}
        self.named = 0
        self.start()
        with team_scope(self.team.pk):
            self.agent = Agent.objects.create(name="agent", public_key=slug.encode().hex().ljust(64, "0"))
            self.target = services.endpoint_create(name="n-b", address="192.0.2.1")
            own = ApiToken.objects.get().pk
            self.kept = {("tokens", own), ("endpoints", self.target.pk)}
            self.have("tokens", own, "n-a")
            self.have("endpoints", self.target.pk, "n-b")
            for number, plural in enumerate([*KINDS, *KINDS]):
                if body := self.body(plural, number):
                    self.have(plural, self.make(plural, body).pk, body["name"])
        self.first, self.named = self.rows, self.made

    def start(self) -> None:
        """With what it had at first: whatever came after was undone."""
        self.made = self.named
        self.rows = {plural: dict(rows) for plural, rows in self.first.items()}
        self.ever = {plural: set(rows) for plural, rows in self.first.items()}

    def name(self) -> str:
        """The same in each team, so that only the wall keeps them apart."""
        self.made += 1
        return f"n-{self.made}"

    def have(self, plural: str, pk: int, name: str) -> None:
        self.rows[plural][pk] = name
        self.ever[plural].add(pk)

    def pick(self, plural: str, number: int) -> int | None:
        known = sorted(self.rows[plural])
        return known[number % len(known)] if known else None

    def forget(self, plural: str, pk: int) -> None:
        """A device takes its interfaces along."""
        if plural == "devices":
            with team_scope(self.team.pk):
                left = set(Interface.objects.values_list("pk", flat=True))
            self.rows["interfaces"] = {key: name for key, name in self.rows["interfaces"].items() if key in left}
        self.rows[plural].pop(pk)

    def tells(self, text: str) -> bool:
        """Whether nobody else is in it: neither the others' people, nor the serials of their devices."""
        return not any(f"{slug}-person" in text for slug in NAMES if slug != self.slug)

    def body(self, plural: str, number: int) -> dict[str, Any] | None:
        """Of a new row; None where there is nothing yet that it must refer to."""
        body: dict[str, Any] = {"name": self.name()}
        match plural:
            case "sites":
                body["slug"] = f"s{self.made}"
            case "devices":
                body |= {"serial": self.user.username, "site": self.pick("sites", number)}
            case "interfaces":
                body["device"] = self.pick("devices", number)
                return body if body["device"] else None
            case "endpoints":
                body["address"] = f"192.0.2.{number}"
            case "desks":
                body |= {"driver": "email", "settings": _MAIL}
            case "campaigns":
                body |= {"agent": self.agent.pk, "targets": [self.target.pk]}
            case "tokens":
                body["role"] = "viewer"
        return body

    def make(self, plural: str, values: dict[str, Any]) -> Model:
        """By the service; the team is in scope."""
        for name, model in (("site", Site), ("device", Device), ("agent", Agent)):
            if values.get(name):
                values[name] = model._default_manager.get(pk=values[name])
        make: dict[str, Callable[..., Model]] = {
            "sites": lambda **given: written.organised_create(model=Site, **given),
            "devices": written.device_create,
            "interfaces": written.interface_create,
            "endpoints": services.endpoint_create,
            "desks": desk_create,
            "campaigns": lambda **given: campaign_create(**given | {"targets": [self.target]}),
            "tokens": self._token,
        }
        return make[plural](**values)

    def _token(self, **given: Any) -> Model:
        key = token_create(team=self.team, **given).partition(".")[0]
        found: Model = ApiToken.objects.get(key=key)
        return found

    def send(self, method: str, path: str, body: Any = None, *, session: bool = False) -> Any:
        """To the address of a kind: "devices/", "devices/7/"; or to any other."""
        call: Callable[..., Any] = getattr(self.session if session else self.program, method)
        if not path.startswith("/"):
            path = f"/api/{KINDS[path.partition('/')[0]]._meta.app_label}/{path}"
        data = {} if method == "get" else {"data": body, "content_type": "application/json"}
        return call(path, headers={} if session else self.headers, **data)

    def saved(self, path: str) -> str:
        """A page or file, whole."""
        answer = self.session.get(path)
        assert answer.status_code == 200
        return b"".join(answer).decode()

    def trail(self, form: str, query: str = "") -> dict[str, set[int]]:
        """The ids that the trail tells of, by model."""
        pages = f"/t/{self.slug}/audit/"
        path = {"api": "/api/tenancy/audit/", "html": pages}.get(form, f"{pages}export.{form}")
        text = self.saved(f"{path}?{query}")
        told: Iterable[Any]
        match form:
            case "api":
                told = json.loads(text)["results"]
            case "html":
                told = [{"model": model, "object": pk} for model, pk in re.findall(r"/audit/([a-z.]+)/(\d+)/", text)]
            case "csv":
                told = csv.DictReader(io.StringIO(text))
            case _:
                told = map(json.loads, text.splitlines())
        assert self.tells(text)
        found: dict[str, set[int]] = {}
        for each in told:
            found.setdefault(each["model"], set()).add(int(each["object"]))
        return found


def _client() -> Client:
    client = Client(raise_request_exception=False)
    client.handler = _HANDLER
    return client
