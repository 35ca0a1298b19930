"""BGP on the wire: messages that fit, sessions that survive hostile peers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import bgpls
from lab.speaker import BGPError, open_body, parse_open
from tests.lab.conftest import HANG, Lab, running_lab, wait_for

ASN = 65000


def messages(stream: bytes) -> list[tuple[int, bytes]]:
    found = []
    while stream:
        length, kind = struct.unpack_from("!16xHB", stream)
        assert stream[:16] == b"\xff" * 16
        assert 19 <= length <= 4096
        found.append((kind, stream[19:length]))
        stream = stream[length:]
    return found


def path_attributes(update: bytes) -> dict[int, bytes]:
    withdrawn, total = struct.unpack_from("!HH", update)
    assert (withdrawn, total) == (0, len(update) - 4)
    found, at = {}, 4
    while at < len(update):
        flags, kind = update[at], update[at + 1]
        size = 2 if flags & bgpls.EXTENDED else 1
        length = int.from_bytes(update[at + 2 : at + 2 + size])
        found[kind] = update[at + 2 + size : at + 2 + size + length]
        at += 2 + size + length
    return found


def nlris(data: bytes) -> list[bytes]:
    found = []
    while data:
        length = 4 + struct.unpack_from("!2xH", data)[0]
        found.append(data[:length])
        data = data[length:]
    return found


NLRI = st.binary(max_size=200).map(lambda value: bgpls.tlv(2, value))
TABLE = st.dictionaries(NLRI, st.sampled_from([b"", b"a" * 255, b"b" * 256, b"c" * 3000]), max_size=60)


@given(TABLE)
def test_updates_announce_the_table_in_messages_that_fit(table: dict[bytes, bytes]) -> None:
    found = {}
    for update in bgpls.updates(table, IPv4Address("192.0.2.1")):
        ((kind, body),) = messages(update)
        attributes = path_attributes(body)
        assert kind == 2
        assert next(iter(attributes)) == bgpls.MP_REACH  # RFC 7606, section 5.1
        assert attributes[bgpls.MP_REACH][:9] == struct.pack("!HBB4sB", 16388, 71, 4, bytes([192, 0, 2, 1]), 0)
        for nlri in nlris(attributes[bgpls.MP_REACH][9:]):
            assert nlri not in found
            found[nlri] = attributes[bgpls.BGP_LS]
    assert found == table


@given(st.lists(NLRI, max_size=60))
def test_withdrawals_name_them_all(gone: list[bytes]) -> None:
    found = []
    for update in bgpls.withdrawals(gone):
        ((_kind, body),) = messages(update)
        attributes = path_attributes(body)
        assert attributes[bgpls.MP_UNREACH][:3] == struct.pack("!HB", 16388, 71)
        found += nlris(attributes[bgpls.MP_UNREACH][3:])
    assert found == gone


def peer_open(asn: int = ASN, hold: int = 90, identifier: bytes = bytes([127, 0, 0, 2]), version: int = 4) -> bytes:
    body = open_body(asn)
    return struct.pack("!BHH4s", version, min(asn, 23456), hold, identifier) + body[9:]


def extended(body: bytes) -> bytes:
    """The same OPEN with RFC 9072 parameter lengths."""
    capabilities = body[12:]
    return body[:9] + struct.pack("!BBHBH", 255, 255, len(capabilities) + 3, 2, len(capabilities)) + capabilities


def test_open_negotiates_the_smaller_hold_time() -> None:
    assert parse_open(peer_open(hold=90), ASN) == 9
    assert parse_open(peer_open(hold=3), ASN) == 3
    assert parse_open(peer_open(hold=0), ASN) == 0
    assert parse_open(extended(peer_open(hold=3)), ASN) == 3


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (peer_open(asn=65001), (2, 2)),
        (peer_open(asn=70000), (2, 2)),
        (peer_open(hold=2), (2, 6)),
        (peer_open(version=3), (2, 1)),
        (peer_open(identifier=bytes(4)), (2, 3)),
        (peer_open()[:9] + b"\0", (2, 2)),  # no capabilities: the two-octet AS is not ours
        (struct.pack("!BHH4sB", 4, ASN, 90, bytes([127, 0, 0, 2]), 0), (2, 7)),
        (b"", (2, 0)),
        (peer_open()[:-1] + b"", (2, 2)),
    ],
)
def test_bad_open_is_refused(body: bytes, code: tuple[int, int]) -> None:
    with pytest.raises(BGPError) as caught:
        parse_open(body, ASN)
    assert (caught.value.code, caught.value.subcode) == code


@given(st.binary(max_size=120) | st.binary(max_size=60).map(lambda tail: peer_open()[:9] + tail))
def test_any_open_is_either_fine_or_a_bgp_error(body: bytes) -> None:
    with suppress(BGPError):
        assert parse_open(body, ASN) in (0, *range(3, 10))


@pytest.fixture(scope="module")
def quiet_lab() -> Iterator[Lab]:
    with running_lab() as lab:
        yield lab


def talk(lab: Lab, *parts: bytes) -> list[tuple[int, bytes]]:
    """Send all parts and read until the speaker hangs up."""
    with socket.create_connection(("127.0.0.1", lab.bgp_port()), timeout=HANG) as connection:
        connection.sendall(b"".join(parts))
        stream = b""
        while chunk := connection.recv(65536):
            stream += chunk
        return messages(stream)


@pytest.mark.lab
@pytest.mark.parametrize(
    ("parts", "notification"),
    [
        ([b"GET / HTTP/1.1\r\n\r\n" + bytes(100)], (1, 1)),
        ([b"\xff" * 16 + struct.pack("!HB", 5000, 1)], (1, 2)),
        ([b"\xff" * 16 + struct.pack("!HB", 5, 1)], (1, 2)),
        ([bgpls.message(9)], (1, 3)),
        ([bgpls.message(4)], (5, 0)),
        ([bgpls.message(1, peer_open(asn=65001))], (2, 2)),
        ([bgpls.message(1, peer_open()), bgpls.message(1, peer_open())], (5, 0)),
    ],
)
def test_hostile_peer_gets_a_notification(quiet_lab: Lab, parts: list[bytes], notification: tuple[int, int]) -> None:
    kind, body = talk(quiet_lab, *parts)[-1]
    assert kind == 3
    assert tuple(body[:2]) == notification
    wait_for(lambda: quiet_lab.request("status")["bgp"]["peers"] == [])


@pytest.mark.lab
@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_never_hurts_the_speaker(quiet_lab: Lab, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", quiet_lab.bgp_port()), timeout=HANG) as connection:
        connection.sendall(garbage)
    assert quiet_lab.request("status")["ok"]


@pytest.mark.lab
def test_silent_peer_is_dropped_after_its_hold_time(quiet_lab: Lab) -> None:
    received = talk(quiet_lab, bgpls.message(1, peer_open(hold=3)), bgpls.message(4))
    kinds = [kind for kind, _body in received]
    assert kinds[:2] == [1, 4]
    assert kinds.count(4) >= 2
    assert kinds[-1] == 3
    assert tuple(received[-1][1][:2]) == (4, 0)
    updates = [body for kind, body in received if kind == 2]
    assert updates[-1] == messages(bgpls.end_of_rib())[0][1]
