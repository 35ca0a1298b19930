"""The two ends of a console for bench/console.py: devices on pseudo-terminals, and whoever looks at them.

All viewers are alike but for what their server speaks: blocking sockets that decode as little as they can.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import socket
import struct
import sys
import time
import tty
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LINE = 16
HANG_S = 120.0


_LINES = b"".join(b"%015d\n" % (number * LINE) for number in range(65521))


def pattern(start: int, size: int) -> bytes:
    """What a device says: lines that are numbered, over and over; any byte that is lost shifts all that follow."""
    start %= len(_LINES)
    return (_LINES * (1 + (start + size) // len(_LINES)))[start : start + size]


class Raw:
    """Of ser2net: nothing but bytes."""

    def __init__(self, port: int) -> None:
        self.socket = connected(port)

    def send(self, keys: bytes) -> None:
        self.socket.sendall(keys)

    def read(self) -> bytes:
        """At least what came; may be empty."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data

    def close(self) -> None:
        self.socket.close()


class Conserver(Raw):
    """The protocol of its client: the master names the port of the console's process. 0xFF is not said here."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(port)
        self._login()
        where = self._ask(f"call {name}")
        self.close()
        self.socket = connected(int(where))
        self._login()
        self._ask(f"call {name}")
        self.send(b"\x05c;")  # its client is ready for the console
        self._line()

    def _login(self) -> None:
        self._line()
        self._ask("login bench")

    def _ask(self, what: str) -> str:
        self.socket.sendall(what.encode() + b"\r\n")
        return self._line()

    def _line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            line += self.socket.recv(1)
        return line.decode().strip()


class Viewer(Raw):
    """A browser's socket: RFC 6455 with a mask of zeros, and consoles/viewers.py on it. `place`: of the next byte;
    `gaps`: bytes that were not there."""

    def __init__(self, url: tuple[int, str], cookie: str, ticket: str, start: int | None = None) -> None:
        port, path = url
        super().__init__(port)
        key = base64.b64encode(os.urandom(16)).decode()
        head = {
            "Host": "localhost", "Origin": "http://localhost", "Cookie": cookie, "Upgrade": "websocket",
            "Connection": "Upgrade", "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13",
        }  # fmt: skip
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            if not (byte := self.socket.recv(1)):
                raise ConnectionError("no WebSocket here")
            answer += byte
        self.place = self.gaps = 0
        self.trouble: str | None = None
        self.refused = ""
        self._left = bytearray()
        self._send(1, json.dumps({"ticket": ticket, "from": start}).encode())
        while self.trouble is None:
            self.read()

    def send(self, keys: bytes) -> None:
        self._send(2, keys)

    def read(self) -> bytes:
        self._left += super().read()
        shown: list[bytes | memoryview] = []
        at = 0
        while len(self._left) >= at + 2:
            size, head = self._left[at + 1], 2
            if size > 125:
                head = 4 if size == 126 else 10
                if len(self._left) < at + head:
                    break
                size = int.from_bytes(self._left[at + 2 : at + head], "big")
            if len(self._left) < at + head + size:
                break
            payload = bytes(self._left[at + head : at + head + size])
            self._frame(self._left[at] & 15, payload, shown)
            at += head + size
        del self._left[:at]
        return b"".join(shown)

    def _frame(self, kind: int, payload: bytes, shown: list[bytes | memoryview]) -> None:
        if kind == 2:
            (offset,) = struct.unpack_from("!Q", payload)
            self.gaps += offset - self.place  # one, where an agent has started again
            self.place = offset + len(payload) - 8
            shown.append(memoryview(payload)[8:])
        elif kind == 1:
            self._told(json.loads(payload))
        elif kind == 9:
            self._send(10, payload)
        elif kind == 8:
            raise ConnectionError(self.refused or "the server closed the socket")

    def _told(self, message: dict[str, Any]) -> None:
        if message["type"] == "hello":
            self.place = message["from"]
        if message["type"] in ("hello", "state"):
            self.trouble = message["trouble"]
        self.refused = message.get("sentence", self.refused) if message["type"] == "refused" else self.refused

    def _send(self, kind: int, payload: bytes) -> None:
        assert len(payload) < 65536
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        self.socket.sendall(bytes([0x80 | kind]) + size + bytes(4) + payload)


def connected(port: int) -> socket.socket:
    """Waits for whoever is only starting."""
    deadline = time.monotonic() + HANG_S
    while True:
        try:
            found = socket.create_connection(("127.0.0.1", port), timeout=HANG_S)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def echoes(viewer: Raw, keys: int) -> list[float]:
    """Milliseconds from each key to its echo, one after the other."""
    found = []
    for number in range(keys + 20):
        began = time.perf_counter()
        viewer.send(b"k")
        while not viewer.read():
            pass
        if number >= 20:
            found.append((time.perf_counter() - began) * 1000)
    return found


def echoes_of_many(viewers: Sequence[Raw], keys: int, pause_s: float = 0.001) -> list[float]:
    """As `echoes`, with a key each `pause_s` to one viewer after the other."""
    found: list[float] = []
    sent: dict[Raw, float] = {}
    with selectors.DefaultSelector() as waiting:
        for viewer in viewers:
            waiting.register(viewer.socket, selectors.EVENT_READ, viewer)
        began, number = time.perf_counter(), 0
        while len(found) < keys:
            due = began + number * pause_s
            if number < keys and time.perf_counter() >= due:
                viewer = viewers[number % len(viewers)]
                number += 1
                if viewer not in sent:  # else its echo is late already
                    sent[viewer] = time.perf_counter()
                    viewer.send(b"k")
                else:
                    keys -= 1
                continue
            for key, _ in waiting.select(max(0.0, due - time.perf_counter()) if number < keys else HANG_S):
                if key.data.read():
                    found.append((time.perf_counter() - sent.pop(key.data)) * 1000)
    return found


def carried(viewers: Sequence[Raw], size: int, begin: Callable[[], None]) -> float:
    """MB/s of all viewers together, from the first byte until each has had so many."""
    left = dict.fromkeys(viewers, size)
    with selectors.DefaultSelector() as waiting:
        for viewer in viewers:
            waiting.register(viewer.socket, selectors.EVENT_READ, viewer)
        began = time.perf_counter()
        begin()
        while left:
            for key, _ in waiting.select(HANG_S):
                left[key.data] -= len(key.data.read())
                if left[key.data] <= 0:
                    waiting.unregister(key.data.socket)
                    del left[key.data]
    return len(viewers) * size / (time.perf_counter() - began) / 1e6


class Devices:
    """The process of `devices`, driven from here; `names`: of the terminals."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.names = self._process.stdout.readline().split()

    def say(self, size: int, device: int = 0) -> None:
        """It says so many bytes of the pattern, as fast as it is read."""
        print(device, size, file=self._process.stdin, flush=True)

    def said(self) -> None:
        """Wait until it has."""
        assert self._process.stdout.readline() == "said\n"


def devices(count: int) -> None:
    """So many terminals that echo what is typed, until standard input ends."""
    pairs = [os.openpty() for _ in range(count)]
    for _, theirs in pairs:
        tty.setraw(theirs)
    print(*(os.ttyname(theirs) for _, theirs in pairs), flush=True)
    with selectors.DefaultSelector() as waiting:
        for ours, _ in pairs:
            waiting.register(ours, selectors.EVENT_READ)
        waiting.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fd != sys.stdin.fileno():
                    os.write(key.fd, os.read(key.fd, 4096))
                elif line := sys.stdin.readline():
                    device, size = map(int, line.split())
                    for place in range(0, size, 1 << 16):
                        left = memoryview(pattern(place, min(1 << 16, size - place)))
                        while left:
                            left = left[os.write(pairs[device][0], left) :]
                    print("said", flush=True)
                else:
                    return


async def cutter(listen: str, to: str) -> None:
    """Between an agent and its gateway: every connection is cut after it has been up for a tenth of a second."""
    import asyncio

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_unix_connection(to)
        except OSError:
            writer.close()
            return
        try:
            async with asyncio.timeout(0.1 if Path(f"{listen}.cuts").exists() else None):
                await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
        except (OSError, TimeoutError):
            pass
        finally:
            writer.transport.abort()
            inner_writer.transport.abort()

    async with await asyncio.start_unix_server(serve, listen) as server:
        print("listens", flush=True)
        await server.serve_forever()
