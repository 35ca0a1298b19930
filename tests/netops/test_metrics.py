"""`/metrics`: numbers over all teams for whoever runs the installation, in formats that Prometheus reads."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings as live
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from agents.models import Agent
from core import roles
from core.scope import team_scope
from inventory.models import Device, TopologySource, TopologyUpdate, sorted_name
from netops.metrics import BOUNDS_S, Times
from tenancy.models import Team, User
from tenancy.services import token_create
from tests.rows import lab_rows
from ticketing.models import Incident

OPENMETRICS = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75"


def ask(client: Client, accept: str = "*/*", token: str = "") -> Any:
    return client.get("/metrics", headers={"Authorization": f"Bearer {token or live.METRICS_TOKEN}", "Accept": accept})


def samples(client: Client) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of their names…) -> value."""
    answer = ask(client, OPENMETRICS)
    assert answer.status_code == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in read_openmetrics(answer.content.decode())  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


@pytest.fixture
def stocked(team: Team, other_team: Team) -> None:
    """Six devices in the red team, two of them in trouble; one written down and an agent in the blue one."""
    with team_scope(team.pk):
        lab = lab_rows()
        Device.objects.filter(pk__in=[lab.device("R8").pk, lab.device("R9").pk]).update(up=False)
        Incident.objects.create(kind="link", element="link:1", title="Secret-R2–R4", opened=timezone.now())
    with team_scope(other_team.pk):
        Device.objects.create(**sorted_name("blue-box"), changed=timezone.now())
        Agent.objects.create(name="blue-agent", public_key="ab" * 32, online=True, last_seen=timezone.now())


@pytest.mark.parametrize(
    "header", ["", "Bearer ", "Bearer nonsense", "Token {}", "bearer {}", "Bearer {}x", "Bearer  {}", "Bearer ü"]
)
@pytest.mark.parametrize("method", ["get", "head"])
def test_without_the_token_there_is_nothing(client: Client, db: None, header: str, method: str) -> None:
    headers = {"Authorization": header.format(live.METRICS_TOKEN)} if header else {}
    answer = getattr(client, method)("/metrics", headers=headers)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert b"netops_" not in answer.content


def test_no_member_of_a_team_is_the_operator(alice_client: Client, alice: User, team: Team) -> None:
    assert alice_client.get("/metrics").status_code == 401
    for kind in ("Token", "Bearer"):
        token = token_create(team=team, role="owner")
        assert alice_client.get("/metrics", headers={"Authorization": f"{kind} {token}"}).status_code == 401


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_is_for_reading(client: Client, db: None, method: str) -> None:
    headers = {"Authorization": f"Bearer {live.METRICS_TOKEN}"}
    assert getattr(client, method)("/metrics", headers=headers).status_code == 405


def test_the_token_is_printed_for_the_operator(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("metricstoken")
    assert capsys.readouterr().out.strip() == live.METRICS_TOKEN
    assert len(live.METRICS_TOKEN) > 40


def test_the_token_comes_from_the_environment_where_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from netops import home

    monkeypatch.setenv("NETOPS_METRICS_TOKEN", "from-outside")
    home.secret.cache_clear()
    assert home.secret("metrics_token") == "from-outside"
    home.secret.cache_clear()


def test_all_teams_are_counted_together(client: Client, stocked: None) -> None:
    seen = samples(client)
    assert seen["netops_teams",] == 2
    assert seen["netops_devices", "up"] == 6
    assert seen["netops_devices", "down"] == 2
    assert seen["netops_devices", "written_down"] == 1
    assert seen["netops_links", "up"] == 8
    assert seen["netops_links", "down"] == 0
    assert seen["netops_agents", "online"] == 1
    assert seen["netops_agents", "dead"] == 0
    assert seen["netops_incidents_open", "critical"] == 1
    assert seen["netops_incidents_open", "warning"] == 0
    assert seen["netops_sources", "live"] == 1
    assert seen["netops_database_size_bytes",] > 1_000_000
    assert seen["netops_info", live.VERSION] == 1


def test_no_row_of_a_team_is_named(client: Client, stocked: None) -> None:
    text = ask(client).content.decode()
    for word in ("red", "Red", "blue", "Blue", "R8", "reflector", "192.0.2.7", "Secret"):
        assert word not in text


def test_what_is_not_there_counts_zero(client: Client, db: None) -> None:
    seen = samples(client)
    assert seen["netops_devices", "up"] == seen["netops_paths", "down"] == seen["netops_due_keys", "plans"] == 0
    assert seen["netops_inbox_oldest_seconds", "reports"] == 0


def test_waiting_rows_have_their_number_and_age(client: Client, team: Team) -> None:
    with team_scope(team.pk):
        source = TopologySource.objects.create(name="reflector", host="192.0.2.7")
        for _ in range(3):
            TopologyUpdate.objects.create(source=source, run=1, line="{}")
        TopologyUpdate.objects.filter(pk=TopologyUpdate.objects.earliest("id").pk).update(
            created=timezone.now() - timedelta(hours=1)
        )
    seen = samples(client)
    assert seen["netops_inbox_rows", "topology"] == 3
    assert 3600 <= seen["netops_inbox_oldest_seconds", "topology"] < 3700
    assert seen["netops_due_keys", "topology"] == 1
    assert seen["netops_inbox_rows", "reports"] == 0


def test_processes_of_each_role_and_waiting_tasks(client: Client, db: None, valkey: str) -> None:
    store = redis.Redis.from_url(valkey)
    store.delete(*[*store.scan_iter("netops:role:*"), "celery"])
    store.set("netops:role:web:1", "up", ex=15)
    store.set("netops:role:web:2", "up", ex=15)
    store.rpush("celery", "one", "two", "three")
    try:
        seen = samples(client)
    finally:
        store.delete("celery", "netops:role:web:1", "netops:role:web:2")
    assert seen["netops_role_processes", "web"] == 2
    assert seen["netops_role_processes", "worker"] == 0
    assert seen["netops_celery_queue_length",] == 3


def test_the_process_that_answers_speaks_of_itself(client: Client, db: None) -> None:
    seen = samples(client)
    assert seen["process_resident_memory_bytes",] > 20_000_000
    assert seen["process_open_fds",] > 3


def test_requests_are_counted_by_door(client: Client, db: None) -> None:
    def count(door: str, code: str) -> float:
        return samples(client).get(("netops_http_request_duration_seconds_count", code, door), 0)

    before = count("api", "4xx"), count("page", "3xx"), count("other", "4xx")
    client.get("/api/inventory/devices/")
    client.get("/t/red/")
    client.get("/t/red/")
    client.get("/nowhere/else/")
    assert (count("api", "4xx"), count("page", "3xx"), count("other", "4xx")) == (
        before[0] + 1, before[1] + 2, before[2] + 1,
    )  # fmt: skip


def test_a_histogram_adds_up() -> None:
    times = Times()
    for seconds in (0.0, 0.005, 0.006, 3.0, 60.0):
        times.add("page", 200, seconds)
    times.add("page", 302, 0.3)
    ((key, (counts, total)), (other, _)) = times.seen()
    assert (key, other) == (("page", "2xx"), ("page", "3xx"))
    assert sum(counts) == 5
    assert counts[0] == 2
    assert counts[1] == counts[BOUNDS_S.index(5.0)] == counts[-1] == 1
    assert total == pytest.approx(63.011)


def test_the_format_is_the_one_asked_for(client: Client, stocked: None) -> None:
    plain = ask(client)
    assert plain["Content-Type"].startswith("text/plain; version=0.0.4")
    assert plain["Cache-Control"].startswith("max-age=0")
    families: list[Metric] = list(read_text(plain.content.decode()))
    assert {family.name for family in families} >= {"netops_devices", "process_cpu_seconds"}
    modern = ask(client, OPENMETRICS)
    assert modern["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert modern.content.endswith(b"# EOF\n")
    names = [family.name for family in read_openmetrics(modern.content.decode())]  # type: ignore[no-untyped-call]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text;version=x", "text/plain;version=-", "\x00", ",;,;=", "x" * 5000]
)
def test_an_odd_accept_header_gets_an_answer(client: Client, db: None, accept: str) -> None:
    answer = ask(client, accept)
    assert answer.status_code == 200
    assert list(read_text(answer.content.decode()))


def test_without_valkey_the_rest_is_told(client: Client, db: None, settings: Any) -> None:
    roles._valkey.cache_clear()
    settings.REDIS_URL = "unix:///nowhere/valkey.sock"
    try:
        seen = samples(client)
    finally:
        roles._valkey.cache_clear()
    assert seen["netops_valkey_up",] == 0
    assert seen["netops_database_up",] == 1
    assert ("netops_celery_queue_length",) not in seen


def test_without_the_database_the_rest_is_told(
    client: Client, db: None, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    def away(*_: object) -> None:
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", away)
        seen = samples(client)
    assert seen["netops_database_up",] == 0
    assert seen["netops_valkey_up",] == 1
    assert ("netops_devices", "up") not in seen


def test_only_who_asks_pays_for_the_client_library() -> None:
    script = (
        "import django, sys; django.setup(); import netops.urls, netops.metrics;"
        "print('prometheus_client' in sys.modules)"
    )
    command = [sys.executable, "-c", script]
    environment = {"DJANGO_SETTINGS_MODULE": "netops.settings", "NETOPS_DATA": str(live.DATA)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
