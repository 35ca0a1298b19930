"""The gateway role: agents' links, as a plain ASGI application on uvicorn, on TCP and on a Unix socket at once."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from agents import memory, services, streams, tls
from agents.capped import capped
from agents.link import GRACE_S, Ended, Link, Receive, Refused, Send, in_thread
from pi_agent.enrolment import BOOT_HEADER, ENROL_PATH, HEARTBEAT_PATH, KEY_HEADER, REGISTER_PATH, ROTATE_PATH
from pi_agent.frames import MAX_FRAME, FrameError

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger("netops.gateway")

PING_S, PONG_S = 40.0, 20.0
"""A link that is dead is found within a minute; agents find a dead gateway sooner (pi_agent/link.py:FAILOVER_S)."""
WEB_PATHS = (ENROL_PATH, REGISTER_PATH, HEARTBEAT_PATH, ROTATE_PATH)
"""Answered as by `web`: an agent needs one address only, and knows its key."""
PAGE_PING_S = 8.0
"""As PING_S for browsers: whoever vanishes is noticed within half a minute, and has no console any more."""
BEAT_S = 5.0
"""Between the beats of all links; SILENT_S (agents/models.py) is several of them."""
_FIX = "stop what uses it (another netops?) or set NETOPS_PORT to a free range."
MAX_KEYS = 64 << 10
"""Bytes of one message that a browser may send."""
OPTIONS: dict[str, Any] = {
    "interface": "asgi3",
    "loop": "uvloop",
    "ws": "agents.sockets:Socket",
    "ws_ping_interval": PING_S,
    "ws_ping_timeout": PONG_S,
    "ws_per_message_deflate": False,
    # Who asks is said by core/client.py, and a frame less for each link.
    "proxy_headers": False,
    "lifespan": "off",
    "log_config": None,
    "access_log": False,
    "timeout_graceful_shutdown": 5,
}
PROVE_S = 5.0
"""Within this time an older link has to answer, or a link of another boot takes its place."""


class Gateway:
    """ASGI application: a link on the WebSocket path /link, WEB_PATHS, nothing else. At most one link an agent."""

    def __init__(self, web: Callable[..., Awaitable[None]]) -> None:
        self._web = web
        self.hub = next((make() for make in streams.hub_makers), None)
        self._links: dict[int, Link] = {}
        self._partings: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in WEB_PATHS:
            await self._report(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        elif scope["type"] == "websocket":
            await receive()
            if scope["path"] != "/link":
                await send({"type": "websocket.close"})
                return
            await send({"type": "websocket.accept"})
            scope.clear()  # its headers would stay for as long as the link does
            await self._link(Link(receive, send, self.hub))

    async def _report(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Whoever reports with the key of a link, and is of another boot, is another machine if the link answers."""
        status = 0

        async def noting(event: dict[str, Any]) -> None:
            nonlocal status
            status = event.get("status", status)
            await send(event)

        await capped(self._web, scope, receive, noting)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        key, boot = headers.get(KEY_HEADER.lower()), headers.get(BOOT_HEADER.lower())
        link = next((each for each in self._links.values() if key and each.key == key), None)
        if status != 200 or link is None or str(link.boot) == boot:
            return
        with suppress(OSError, RuntimeError):  # the link may end meanwhile
            if await link.answers(PROVE_S):
                clash = services.key_clash
                await in_thread(link.team_id, clash, agent_id=link.agent_id, hostname="Another machine", addresses={})

    async def _link(self, link: Link) -> None:
        try:
            await link.identify()
            await self._make_way(link)
            await link.open()
            if older := self._links.get(link.agent_id):
                older.replace()
            self._links[link.agent_id] = link
            await link.serve()
        except Refused as refusal:
            await link.refuse(refusal.code, str(refusal))
        except FrameError as error:
            await link.refuse("frame", str(error))
        except TimeoutError:
            await link.refuse("timeout", "The HELLO did not come in time.")
        except services.StaleLink:
            await link.refuse("auth", "This key is not enrolled.")
        except (Ended, OSError):
            pass
        except Exception as error:
            # The agent keeps what was not acknowledged and comes back; the others' links stay.
            log.error("the link of agent %s ends: %s: %s", link.agent_id, type(error).__name__, error)
            await link.refuse("server", "The server cannot serve this link now: try again.")
        finally:
            self._part(link)

    async def _make_way(self, link: Link) -> None:
        """A link of the same boot is the same machine, back after its network dropped the old one. One of another boot
        is a machine that started again, unless the old link still answers: then it is a second machine with one key."""
        older = self._links.get(link.agent_id)
        if older and older.boot != link.boot and await older.answers(PROVE_S):
            await link.clash()
            raise Refused("clone", "Another machine uses this key now: enrol this one with a key of its own.")

    def _part(self, link: Link) -> None:
        if self._links.get(link.agent_id) is link:
            del self._links[link.agent_id]
            task = asyncio.create_task(self._offline(link))
            self._partings.add(task)
            task.add_done_callback(self._partings.discard)

    async def beat(self) -> None:
        """Every BEAT_S, for ever: the links are alive, or another gateway has taken an agent over; plans whose nudge
        got lost are found."""
        while True:
            await asyncio.sleep(BEAT_S)
            memory.trim()
            teams: dict[int, dict[int, int]] = {}
            for link in self._links.values():
                teams.setdefault(link.team_id, {})[link.agent_id] = link.epoch
            for team_id, epochs in teams.items():
                try:
                    gone = await in_thread(team_id, services.links_beat, epochs=epochs)
                    versions = await in_thread(team_id, services.plan_versions, agents=epochs.keys())
                except Exception as error:
                    log.warning("the links of team %s did not beat (%s)", team_id, type(error).__name__)
                    continue
                for link in [self._links[agent_id] for agent_id in epochs if agent_id in self._links]:
                    if link.agent_id in gone and link.epoch == epochs[link.agent_id]:
                        link.replace()
                    link.look(versions)

    async def _offline(self, link: Link) -> None:
        """Offline once the grace is over; a link that came back has raised the epoch."""
        await asyncio.sleep(GRACE_S)
        try:
            await in_thread(link.team_id, services.link_closed, agent_id=link.agent_id, epoch=link.epoch)
        except Exception as error:
            log.warning("agent %s was not marked offline (%s); the sweep will", link.agent_id, type(error).__name__)


def main() -> int:
    """Serve until SIGTERM or SIGINT; 1 with one line where it cannot listen."""
    host, port, path = settings.GATEWAY_HOST, settings.GATEWAY_PORT, settings.DATA / "run" / "gateway.sock"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    memory.prepare()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    try:
        tcp = _tcp_server(host, port)
        ssh = _tcp_server(host, settings.SSH_PORT)
        browsers = _tcp_server(host, settings.CONSOLE_PORT)
        clients = _tcp_server(host, settings.CONSOLE_SSH_PORT)
        unix = _unix_server(path)
    except OSError as error:
        print(f"netops: the gateway cannot listen on {error.filename} ({error.strerror}): {_FIX}", file=sys.stderr)
        return 1
    try:
        server = _server(unix, ssh, (browsers, clients), f"{host}:{port} and {path}")
    except OSError as error:
        print(f"netops: the gateway has no key ({error}): see NETOPS_DATA/gateway.pem.", file=sys.stderr)
        return 1
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # what a stranger sends must not fill the log
    # uvicorn raises the signal again when it is done, for these handlers: the end is a clean one.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    server.run(sockets=[tcp])
    path.unlink(missing_ok=True)
    return 0


def _server(
    unix: socket.socket, ssh: socket.socket, people: tuple[socket.socket, socket.socket], where: str
) -> uvicorn.Server:
    import uvicorn
    from django.core.asgi import get_asgi_application

    from agents import nudges, tunnel
    from core.roles import keep_beating

    gateway = Gateway(get_asgi_application())
    browsers, clients = people

    class Server(uvicorn.Server):
        """Listens on both sockets, and for SSH; uvicorn itself makes TCP servers only of the sockets it is given."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            loop = asyncio.get_running_loop()
            self.servers.append(await loop.create_unix_server(partial(self._protocol, self.config), sock=unix))
            self.ssh = await tunnel.listen(ssh)
            self.tasks = [asyncio.create_task(gateway.beat()), asyncio.create_task(nudges.listen())]
            if gateway.hub:
                self.servers.append(await loop.create_server(partial(self._protocol, pages), sock=browsers))
                self.tasks.append(asyncio.create_task(gateway.hub.keep()))
            keep_beating("gateway")
            log.info("the gateway listens on %s", where)
            if gateway.hub:
                await gateway.hub.clients(clients)

        def _protocol(self, config: uvicorn.Config) -> asyncio.Protocol:
            factory: Any = config.http_protocol_class
            protocol: asyncio.Protocol = factory(
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return protocol

    config = uvicorn.Config(gateway, ws_max_size=MAX_FRAME, **OPTIONS)
    options = OPTIONS | {"ws_max_size": MAX_KEYS, "ws_ping_interval": PAGE_PING_S}
    pages = uvicorn.Config(gateway.hub.browsers if gateway.hub else gateway, **options)
    config.load()
    pages.load()
    config.ssl = tls.server_context()
    return Server(config)


def _tcp_server(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=1024)
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{host} port {port}") from None


def _unix_server(path: Path) -> socket.socket:
    """Bound under a name of its own first: a socket that a killed gateway left is replaced in one step."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    unix = socket.socket(socket.AF_UNIX)
    try:
        unix.bind(str(draft))
        unix.listen(1024)
        os.replace(draft, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return unix
