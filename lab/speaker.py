"""The BGP-LS speaker: a passive iBGP peer that plays the route reflector (RFC 4271, RFC 4760, RFC 9552)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from lab import bgpls

OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4
HOLD_TIME = 9.0
OPEN_TIMEOUT = 20.0
AS_TRANS = 23456
IDENTIFIER = IPv4Address("192.0.2.1")
MAX_BACKLOG = 16 << 20
"""Bytes a peer may leave unread before it is dropped."""


class BGPError(Exception):
    """Ends a session with a NOTIFICATION (RFC 4271, section 6)."""

    def __init__(self, code: int, subcode: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.subcode = code, subcode


class Session:
    """One peer. ``state`` is named after RFC 4271's states."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        host, port = writer.get_extra_info("peername")[:2]
        self.peer = f"{host}:{port}"
        self.state = "OpenSent"

    async def run(self, asn: int, speaker: Speaker) -> None:
        """Serve the peer until it leaves; raises BGPError, OSError, EOFError or TimeoutError."""
        self._writer.write(bgpls.message(OPEN, open_body(asn)))
        async with asyncio.timeout(OPEN_TIMEOUT):
            hold = parse_open(await self._expect(OPEN), asn)
            self._writer.write(bgpls.message(KEEPALIVE))
            self.state = "OpenConfirm"
            await self._expect(KEEPALIVE)
        self.state = "Established"
        self.send(*bgpls.updates(speaker.table, IDENTIFIER), bgpls.end_of_rib())
        keeper = asyncio.create_task(self._keep_alive(hold / 3)) if hold else None
        try:
            while True:
                async with asyncio.timeout(hold or None):
                    await self._read()
        except TimeoutError:
            raise BGPError(4, 0, "hold timer expired") from None
        finally:
            if keeper:
                keeper.cancel()

    def send(self, *messages: bytes) -> None:
        self._writer.write(b"".join(messages))
        if self._writer.transport.get_write_buffer_size() > MAX_BACKLOG:
            self._writer.transport.abort()

    def close(self, error: BGPError | None = None) -> None:
        if error is not None:
            self._writer.write(bgpls.message(NOTIFICATION, bytes([error.code, error.subcode])))
        self._writer.close()

    async def _expect(self, wanted: int) -> bytes:
        kind, body = await self._read()
        if kind != wanted:
            raise BGPError(5, 0, f"unexpected message type {kind}")
        return body

    async def _read(self) -> tuple[int, bytes]:
        header = await self._reader.readexactly(19)
        length, kind = struct.unpack("!16xHB", header)
        if header[:16] != b"\xff" * 16:
            raise BGPError(1, 1, "connection not synchronised")
        if not 19 <= length <= bgpls.MAX_MESSAGE:
            raise BGPError(1, 2, f"bad message length {length}")
        if kind not in (OPEN, UPDATE, NOTIFICATION, KEEPALIVE):
            raise BGPError(1, 3, f"bad message type {kind}")
        body = await self._reader.readexactly(length - 19)
        if kind == NOTIFICATION:
            raise EOFError("the peer closed the session")
        return kind, body

    async def _keep_alive(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            self.send(bgpls.message(KEEPALIVE))


class Speaker:
    """Holds what is announced, and tells every established peer of changes."""

    def __init__(self, asn: int, table: Mapping[bytes, bytes]) -> None:
        self.asn = asn
        self.table = dict(table)
        self.sessions: set[Session] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(reader, writer)
        self.sessions.add(session)
        try:
            await session.run(self.asn, self)
        except BGPError as error:
            session.close(error)
        except (OSError, EOFError):
            session.close()
        finally:
            self.sessions.discard(session)

    def announce(self, table: Mapping[bytes, bytes]) -> None:
        """Replace the table; peers hear the difference only."""
        gone = [nlri for nlri in self.table if nlri not in table]
        changed = {nlri: attributes for nlri, attributes in table.items() if self.table.get(nlri) != attributes}
        self.table = dict(table)
        messages = [*bgpls.withdrawals(gone), *bgpls.updates(changed, IDENTIFIER)]
        for session in self.sessions:
            if messages and session.state == "Established":
                session.send(*messages)

    def close(self) -> None:
        for session in self.sessions:
            session.close(BGPError(6, 2, "administrative shutdown"))

    def status(self) -> list[dict[str, Any]]:
        return [{"peer": session.peer, "state": session.state} for session in self.sessions]


def open_body(asn: int) -> bytes:
    """OPEN with the capabilities multiprotocol (RFC 4760) and four-octet AS (RFC 6793)."""
    capabilities = struct.pack("!BBHBB", 1, 4, bgpls.AFI, 0, bgpls.SAFI) + struct.pack("!BBI", 65, 4, asn)
    parameters = bytes([2, len(capabilities)]) + capabilities
    my_as = asn if asn < 65536 else AS_TRANS
    return struct.pack("!BHH4sB", 4, my_as, int(HOLD_TIME), IDENTIFIER.packed, len(parameters)) + parameters


def parse_open(body: bytes, asn: int) -> float:
    """Check a peer's OPEN; the negotiated hold time in seconds (0: no keepalives). Raises BGPError."""
    try:
        version, peer_as, hold, identifier = struct.unpack_from("!BHH4s", body)
        capabilities = list(_capabilities(body))
    except (struct.error, IndexError):
        raise BGPError(2, 0, "malformed OPEN") from None
    if version != 4:
        raise BGPError(2, 1, f"unsupported BGP version {version}")
    if hold in (1, 2):
        raise BGPError(2, 6, f"unacceptable hold time {hold}")
    if identifier in (bytes(4), IDENTIFIER.packed):
        raise BGPError(2, 3, "bad BGP identifier")
    for code, value in capabilities:
        if code == 65 and len(value) == 4:
            (peer_as,) = struct.unpack("!I", value)
    if peer_as != asn:
        raise BGPError(2, 2, f"bad peer AS {peer_as}, this is {asn}")
    if (1, struct.pack("!HBB", bgpls.AFI, 0, bgpls.SAFI)) not in capabilities:
        raise BGPError(2, 7, "the peer does not speak BGP-LS")
    return min(float(hold), HOLD_TIME)


def _capabilities(body: bytes) -> list[tuple[int, bytes]]:
    """Of an OPEN, also with extended parameter lengths (RFC 9072). Raises struct.error or IndexError."""
    extended = len(body) > 10 and body[9] == 255 and body[10] == 255
    head, at = ("!BH", 13) if extended else ("!BB", 10)
    found = []
    while at < len(body):
        kind, length = struct.unpack_from(head, body, at)
        at += struct.calcsize(head)
        end = at + length
        while kind == 2 and at < end:
            code, size = body[at], body[at + 1]
            found.append((code, body[at + 2 : at + 2 + size]))
            at += 2 + size
        at = end
    return found
