from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_agent.frames import (
    MAX_FRAME,
    MAX_PAYLOAD,
    Challenge,
    Error,
    Frame,
    FrameError,
    Hello,
    Type,
    Welcome,
    ack,
)

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
printable = st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=40)
streams = st.dictionaries(u32, u64, max_size=5)
addresses = st.dictionaries(printable, st.lists(st.ip_addresses().map(str), max_size=4), max_size=4)
frames = st.builds(Frame, st.sampled_from(Type), u32, u64, st.binary(max_size=300))
messages = st.one_of(
    st.builds(Challenge, st.tuples(u32, u32), st.binary(min_size=16, max_size=64)),
    st.builds(
        Hello,
        key=st.binary(min_size=32, max_size=32),
        signature=st.binary(min_size=64, max_size=64),
        boot=st.uuids(),
        hostname=printable,
        software=printable,
        addresses=addresses,
        streams=streams,
        version=u32,
    ),
    st.builds(Welcome, printable, streams, st.integers(1, 2**32 - 1), u32),
    st.builds(Error, printable, printable),
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def parse_all(frame: Frame) -> None:
    """Only FrameError may come out."""
    for kind in (Challenge, Hello, Welcome, Error):
        with contextlib.suppress(FrameError):
            kind.parse(Frame(kind.TYPE, frame.stream, frame.offset, frame.payload))


@given(frames)
def test_a_frame_comes_back_from_its_bytes(frame: Frame) -> None:
    assert Frame.decode(frame.encode()) == frame


@given(messages)
def test_a_message_comes_back_from_its_frame(message: Challenge | Hello | Welcome | Error) -> None:
    assert type(message).parse(Frame.decode(message.frame().encode())) == message


@given(st.binary(max_size=200) | st.text(max_size=50))
def test_no_bytes_raise_anything_but_frame_error(message: bytes | str) -> None:
    with contextlib.suppress(FrameError):
        parse_all(Frame.decode(message))


@given(messages, st.data())
def test_no_field_of_a_message_can_break_its_reader(message: Hello | Welcome, data: st.DataObject) -> None:
    fields = message.to_json()
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(junk)
    parse_all(Frame(Type.HELLO, payload=json.dumps(fields).encode()))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"code":"x","message":' + b"9" * 5000 + b"}",
        b'{"code":"x","message":NaN}',
        b'{"code":"x","message":"\\ud800"}',
        b'{"code":"x","message":"\\u001b[2J"}',
        b'{"code":"x","message":""}',
        b'{"code":"x"}',
    ],
)
def test_a_hostile_error_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        Error.parse(Frame(Type.ERROR, payload=payload))


def test_fields_from_a_newer_minor_version_are_ignored() -> None:
    payload = b'{"code":"auth","message":"no","retry":5}'
    assert Error.parse(Frame(Type.ERROR, payload=payload)) == Error("auth", "no")


def test_a_refusal_names_the_field() -> None:
    with pytest.raises(FrameError, match=r"^WELCOME: window must be an integer from 1 to 4294967295$"):
        Welcome.parse(Frame(Type.WELCOME, payload=b'{"agent":"a","streams":{},"window":true,"version":1}'))


def test_a_message_of_another_type_is_refused() -> None:
    with pytest.raises(FrameError, match="CHALLENGE was expected, ACK came"):
        Challenge.parse(ack(1, 2))


def test_sizes_and_ranges_are_kept() -> None:
    full = Frame(Type.DATA, payload=bytes(MAX_PAYLOAD)).encode()
    assert len(full) == MAX_FRAME
    assert Frame.decode(full).payload == bytes(MAX_PAYLOAD)
    with pytest.raises(FrameError, match="bytes"):
        Frame.decode(full + b"\0")
    for frame in (Frame(Type.DATA, payload=bytes(MAX_PAYLOAD + 1)), Frame(Type.ACK, -1), ack(1, 2**64)):
        with pytest.raises(FrameError):
            frame.encode()
