"""The API with many teams, devices and interfaces: server time through the whole stack, of a team that owns half of
everything and of a small one. Baseline: the same list on plain DRF serializers (bench/plain.py).

`--devices N` for another size.
"""

import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.fill import Size, filled, grow
from bench.support import finish, quick, table

Figure = tuple[str, list[float]]


class Server:
    """The WSGI application of the `web` role, called in process."""

    def __init__(self) -> None:
        from django.conf import settings
        from django.core.wsgi import get_wsgi_application

        settings.ROOT_URLCONF = "bench.plain"
        self.application = get_wsgi_application()

    def pieces(self, path: str, **headers: Any) -> Iterable[bytes]:
        from django.test import RequestFactory

        answered: list[str] = []
        environ = RequestFactory(SERVER_NAME="127.0.0.1").get(path, **headers).environ
        body = self.application(environ, lambda status, _: answered.append(status))  # type: ignore[arg-type]
        assert answered[0] == "200 OK", (path, answered[0], b"".join(body)[:500])
        yield from body
        body.close()

    def timed(self, path: str, **headers: str) -> tuple[float, bytes]:
        """Milliseconds and body."""
        began = time.perf_counter()
        body = b"".join(self.pieces(path, **headers))
        return (time.perf_counter() - began) * 1000, body

    def get(self, path: str, token: str) -> tuple[float, bytes]:
        return self.timed(path, HTTP_AUTHORIZATION=f"Token {token}")


def percentile(values: list[float], percent: int) -> float:
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def measured(asked: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each figure `rounds` times, taking turns, after two rounds to warm up."""
    found: dict[str, list[float]] = {name: [] for name in asked}
    for turn in range(rounds + 2):
        for name, ask in asked.items():
            spent = ask()
            if turn >= 2:
                found[name].append(spent)
    return found


def typed(texts: list[str], seed: int) -> Iterable[str]:
    """Texts as they are typed: each letter is one more request; the texts in random order, for ever."""
    chosen = random.Random(seed)
    while True:
        text = chosen.choice(texts)
        yield from (text[:size] for size in range(1, len(text) + 1))


def lists(server: Server, tokens: dict[str, str], size: Size) -> dict[str, Callable[[], float]]:
    devices, interfaces = "/api/inventory/devices/", "/api/inventory/interfaces/"
    deep, middle = min(90_000, size.devices * 4), size.devices * 2 // 5

    def asking(path: str, who: str) -> Callable[[], float]:
        return lambda: server.get(path, tokens[who])[0]

    asked = {}
    for who in tokens:
        asked[f"devices, 50, {who}"] = asking(devices, who)
        asked[f"interfaces, 50, {who}"] = asking(interfaces, who)
    asked["interfaces, first by start"] = asking(f"{interfaces}?start=0", "half")
    asked["interfaces, deep by start"] = asking(f"{interfaces}?start={deep}", "half")
    asked[f"interfaces, offset {deep}"] = asking(f"{interfaces}?offset={deep}", "half")
    asked[f"devices, offset {middle}"] = asking(f"{devices}?offset={middle}", "half")
    return asked


def searches(server: Server, tokens: dict[str, str], more: str) -> dict[str, Callable[[], float]]:
    """What is asked while a name or an address is typed; with `start` nothing is counted, without it everything is."""
    asked: dict[str, Callable[[], float]] = {}
    for who, token in tokens.items():
        for kind, field in (("devices", "name"), ("interfaces", "address")):
            texts = typed(_values(server, token, kind, field), len(asked))
            asked[f"{kind} by {field}, {'start=0' if more else 'counted'}, {who}"] = _typing(
                server, f"/api/inventory/{kind}/?brief=1{more}", texts, HTTP_AUTHORIZATION=f"Token {token}"
            )
    return asked


def typing_on_the_page(server: Server, cookie: str, token: str) -> Callable[[], float]:
    texts = typed(_values(server, token, "devices", "name"), 0)
    sent = {"HTTP_COOKIE": f"sessionid={cookie}", "HTTP_HX_REQUEST": "true"}
    return _typing(server, "/t/team-1/devices/?sort=name", texts, **sent)


def _values(server: Server, token: str, kind: str, field: str) -> list[str]:
    rows = json.loads(server.get(f"/api/inventory/{kind}/?limit=1000&ordering=-id", token)[1])["results"]
    return [row[field].partition("/")[0] for row in rows]


def _typing(server: Server, path: str, texts: Iterable[str], **headers: str) -> Callable[[], float]:
    """Asks for the next text; no count is older than the request."""
    from django.core.cache import cache

    following = iter(texts)

    def ask() -> float:
        cache.clear()
        return server.timed(f"{path}&q={quote(next(following))}", **headers)[0]

    return ask


def against_drf(server: Server, token: str, rounds: int) -> tuple[list[Figure], float]:
    """1000 devices, ours and the baseline's, which answer the same."""
    paths = {"netops": "/api/inventory/devices/?limit=1000", "plain DRF": "/api/plain/devices/?limit=1000"}
    answers = [json.loads(server.get(path, token)[1])["results"] for path in paths.values()]
    assert answers[0] == answers[1], (answers[0][0], answers[1][0])

    def asking(path: str) -> Callable[[], float]:
        return lambda: server.get(path, token)[0]

    found = measured({name: asking(path) for name, path in paths.items()}, rounds)
    ratio = statistics.median(found["plain DRF"]) / statistics.median(found["netops"])
    return [(f"1000 devices, {name}", values) for name, values in found.items()], ratio


def export_growth(server: Server, path: str, cookie: str) -> tuple[float, int]:
    """How many MB more the process holds, at most, while all devices are streamed than at the tenth piece; rows."""
    first = most = rows = 0
    for count, piece in enumerate(server.pieces(path, HTTP_COOKIE=f"sessionid={cookie}")):
        rows += piece.count(b"\n")
        held = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
        first, most = (held, held) if count < 10 else (first, max(most, held))
    return (most - first) / 2**20, rows - 1


def figures(title: str, found: Iterable[Figure]) -> None:
    rows = [
        (name, len(values), f"{min(values):.1f}", f"{statistics.median(values):.1f}", f"{percentile(values, 95):.1f}",
         f"{max(values):.1f}")
        for name, values in found
    ]  # fmt: skip
    table((title, "requests", "min ms", "median ms", "p95 ms", "max ms"), rows)
    print()


def tokens_and_cookie(size: Size) -> tuple[dict[str, str], str]:
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.test import Client

    from tenancy.models import Team
    from tenancy.services import member_set, token_create

    half, small = Team.objects.get(pk=1), Team.objects.get(pk=size.teams // 2)
    person = get_user_model().objects.create_user("bench", "bench@example.org")
    member_set(team=half, user=person, role="viewer")
    client = Client()
    client.force_login(person, backend=settings.AUTHENTICATION_BACKENDS[0])
    tokens = {"half": token_create(team=half, role="viewer"), "small": token_create(team=small, role="viewer")}
    return tokens, client.cookies["sessionid"].value


def main() -> None:
    given = dict(itertools.pairwise(sys.argv[1:])).get("--devices")
    size = Size(teams=20, devices=10_000) if quick() else Size()
    size = Size(size.teams, int(given)) if given else size
    rounds = 50 if quick() else 200
    with filled(size, NETOPS_API_RATE="10000000"):
        tokens, cookie = tokens_and_cookie(size)
        server = Server()
        print(f"{size.devices} devices, {size.devices * 10} interfaces, {size.teams} teams, one owns half")
        listed = measured(lists(server, tokens, size), rounds)
        figures("list", listed.items())
        searched = measured(searches(server, tokens, "&start=0"), rounds)
        figures("search as typed, letter by letter", searched.items())
        page = {"the devices page, half": typing_on_the_page(server, cookie, tokens["half"])}
        figures("beyond the goal", measured(searches(server, tokens, "") | page, rounds // 4).items())
        compared, ratio = against_drf(server, tokens["half"], max(20, rounds // 4))
        figures("rows", compared)
        grow(size.devices // 2)
        growth, exported = export_growth(server, "/t/team-1/export/devices.csv", cookie)
    deep = {name: statistics.median(values) for name, values in listed.items()}
    ratios = {
        "start": deep["interfaces, deep by start"] / deep["interfaces, first by start"],
        **{
            name: middle / deep["devices, 50, half" if name.startswith("dev") else "interfaces, 50, half"]
            for name, middle in deep.items()
            if "offset" in name
        },
    }
    print("deep page to first page: " + ", ".join(f"{name} {value:.2f}" for name, value in ratios.items()))
    print(
        f"1000 devices: {ratio:.1f} times the rows/s of plain DRF; {exported} rows exported, {growth:.1f} MB more held"
    )
    finish(
        list50_p95_ms=round(max(percentile(values, 95) for name, values in listed.items() if ", 50, " in name), 1),
        search_p95_ms=round(max(percentile(values, 95) for values in searched.values()), 1),
        list1000_vs_drf=round(ratio, 2),
        deep_page_ratio=round(max(ratios.values()), 2),
        export_growth_mb=round(growth, 1),
    )


if __name__ == "__main__":
    main()
