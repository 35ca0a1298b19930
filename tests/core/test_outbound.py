"""The outbound gate: what a user enters never reaches our own networks unless the operator said so."""

import pytest
from django.core.exceptions import ValidationError

from core.outbound import resolve

INSIDE = [
    "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "0.0.0.0", "169.254.169.254", "100.64.0.1", "224.0.0.1",
    "::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "localhost", "2130706433", "0x7f.1",
]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
def test_inside_addresses_are_refused_by_name_of_the_field(host: str, settings: object) -> None:
    settings.OUTBOUND_ALLOW = []  # type: ignore[attr-defined]
    with pytest.raises(ValidationError) as error:
        resolve(host, 25, field="smtp_host")
    assert set(error.value.message_dict) == {"smtp_host"}


def test_a_global_address_passes_and_is_pinned(settings: object) -> None:
    settings.OUTBOUND_ALLOW = []  # type: ignore[attr-defined]
    assert resolve("9.9.9.9", 25).address == "9.9.9.9"


@pytest.mark.parametrize(
    ("entry", "host", "port", "passes"),
    [
        ("127.0.0.1", "127.0.0.1", 25, True),
        ("127.0.0.1:25", "127.0.0.1", 25, True),
        ("127.0.0.1:25", "127.0.0.1", 26, False),
        ("10.0.0.0/8", "10.2.3.4", 443, True),
        ("10.0.0.0/8", "11.0.0.1", 443, True),
        ("10.0.0.0/8", "192.168.0.1", 443, False),
        ("localhost", "localhost", 80, True),
        ("localhost", "127.0.0.1", 80, False),
        ("::1", "::1", 80, True),
        ("[::1]:80", "::1", 80, True),
        ("[::1]:80", "::1", 81, False),
        ("nonsense/99", "10.0.0.1", 80, False),
    ],
)
def test_what_the_operator_allows(entry: str, host: str, port: int, passes: bool, settings: object) -> None:
    settings.OUTBOUND_ALLOW = [entry]  # type: ignore[attr-defined]
    if passes:
        assert resolve(host, port).host == host
    else:
        with pytest.raises(ValidationError):
            resolve(host, port)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 300, "exa mple", ""])
def test_what_does_not_resolve_is_said(host: str) -> None:
    with pytest.raises(ValidationError):
        resolve(host, 25)
