"""HTTP through the outbound gate, against real servers on loopback that do what hostile ones do."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.exceptions import ValidationError

from core import outbound, pinned
from core.outbound import FetchError, fetch, resolve

Serve = Callable[[socket.socket, bytes], None]
LOOPBACK = ["127.0.0.0/8", "::1"]


@contextmanager
def server(
    serve: Serve, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[bytes]]]:
    """A TCP server: its port and the heads of the requests it got; `serve` answers one connection."""
    heads: list[bytes] = []
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:

        def loop() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    try:
                        peer.settimeout(20)
                        talk = tls.wrap_socket(peer, server_side=True) if tls else peer
                        head = b""
                        while b"\r\n\r\n" not in head and (more := talk.recv(65536)):
                            head += more
                        heads.append(head)
                        serve(talk, head)
                    except OSError:
                        continue

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heads
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(25)


def says(body: bytes = b"hello", *, status: str = "200 OK", headers: str = "") -> Serve:
    def serve(peer: socket.socket, head: bytes) -> None:
        peer.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    return serve


@pytest.fixture(autouse=True)
def loopback(settings: Any) -> None:
    settings.OUTBOUND_ALLOW = LOOPBACK


def test_an_answer_comes_with_status_headers_and_body() -> None:
    with server(says(status="404 Not Found", headers="X-Thing: yes\r\n")) as (port, heads):
        answer = fetch("GET", f"http://127.0.0.1:{port}/a?b=c", headers={"Authorization": "Token x", "Host": "evil"})
    assert (answer.status, answer.headers["x-thing"], answer.body) == (404, "yes", b"hello")
    assert heads[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{port}".encode() in heads[0]
    assert b"Authorization: Token x" in heads[0]
    assert b"evil" not in heads[0]


def test_a_body_is_sent() -> None:
    with server(says()) as (port, heads):
        fetch("POST", f"http://127.0.0.1:{port}/", body=b'{"a": 1}', headers={"Content-Type": "application/json"})
    assert heads[0].startswith(b"POST / ")
    assert b"Content-Length: 8" in heads[0]


@pytest.mark.parametrize(
    "url",
    ["", "ftp://127.0.0.1/", "file:///etc/passwd", "http://", "//127.0.0.1/", "http:///x", "gopher://127.0.0.1:70/",
     "http://127.0.0.1:0/", "http://127.0.0.1:99999/", "http://[::1/", "http://127.0.0.1/ x", "http://127.0.0.1/\nx",
     "http://user:secret@127.0.0.1/", "http://user@127.0.0.1/", "http://föö/", "http://127.0.0.1\\@example.org/"],
)  # fmt: skip
def test_what_is_no_address_of_the_web_is_refused_by_its_field(url: str) -> None:
    with pytest.raises(ValidationError) as error:
        fetch("GET", url, field="netbox_url")
    assert set(error.value.message_dict) == {"netbox_url"}


INSIDE = [
    "127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.1", "0", "[::1]", "[::]", "[::127.0.0.1]",
    "[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    "[2002:a00:1::1]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[fe80::1]", "[fec0::1]", "[fd00::1]", "[ff02::1]",
    "[64:ff9b:1::1]", "[100::1]", "localhost", "169.254.169.254", "[fd00:ec2::254]", "168.63.129.16",
]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
def test_however_it_is_spelled_the_inside_is_refused(host: str, settings: Any) -> None:
    settings.OUTBOUND_ALLOW = []
    with server(says()) as (port, heads):
        with pytest.raises(ValidationError):
            fetch("GET", f"http://{host}:{port}/", timeout=2)
        assert heads == []


@pytest.mark.parametrize("host", ["64:ff9b::9.9.9.9", "2620:fe::fe", "::ffff:9.9.9.9", "2002:909:909::1"])
def test_global_addresses_pass_however_they_are_wrapped(host: str, settings: Any) -> None:
    settings.OUTBOUND_ALLOW = []
    assert ipaddress.ip_address(resolve(host, 443).address) == ipaddress.ip_address(host)


@pytest.mark.parametrize("entry", ["169.254.0.0/16", "0.0.0.0/0", "metadata", "fd00::/8", "::/0", "169.254.169.254:81"])
@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254"])
def test_metadata_is_refused_even_inside_what_the_operator_allows(
    entry: str, address: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 80))])
    settings.OUTBOUND_ALLOW = [entry]
    with pytest.raises(ValidationError):
        resolve("metadata", 80)
    settings.OUTBOUND_ALLOW = [address]
    assert resolve("metadata", 80).address == address
    settings.OUTBOUND_ALLOW = [f"[{address}]:80" if ":" in address else f"{address}:80"]
    assert resolve("metadata", 80).address == address


def test_a_name_that_answers_otherwise_the_second_time_is_connected_where_it_was_judged(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """DNS rebinding: allowed 127.0.0.1 at the look-up, the forbidden 127.0.0.2 at every later one."""
    settings.OUTBOUND_ALLOW = ["127.0.0.1"]
    real, asked = socket.getaddrinfo, []

    def rebinding(host: Any, *more: Any, **named: Any) -> Any:
        if host != "rebind.example":
            return real(host, *more, **named)
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with server(says(b"judged")) as (port, heads):
        answer = fetch("GET", f"http://rebind.example:{port}/")
        assert (answer.body, asked) == (b"judged", ["rebind.example"])
        assert f"Host: rebind.example:{port}".encode() in heads[0]
        with pytest.raises(ValidationError):
            fetch("GET", f"http://rebind.example:{port}/")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed(status: str) -> None:
    with server(says()) as (inner, reached):
        led = says(status=status, headers=f"Location: http://127.0.0.1:{inner}/\r\n")
        with server(led) as (port, _), pytest.raises(FetchError, match="redirect"):
            fetch("GET", f"http://127.0.0.1:{port}/")
        assert reached == []


@pytest.mark.parametrize("what", ["head", "body", "nothing"])
def test_a_server_that_drips_is_left_when_the_time_is_over(what: str) -> None:
    """Each byte comes well within any timeout of a single read."""
    done = threading.Event()

    def drip(peer: socket.socket, head: bytes) -> None:
        start = b"HTTP/1.1 200 OK\r\nX: " if what == "head" else b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
        if what != "nothing":
            peer.sendall(start)
        while not done.wait(0.1):
            if what != "nothing":
                peer.sendall(b"x")

    with server(drip) as (port, _):
        began = time.monotonic()
        with pytest.raises(FetchError, match=r"longer than 0\.7 s"):
            fetch("GET", f"http://127.0.0.1:{port}/", timeout=0.7)
        assert time.monotonic() - began < 15  # it would have dripped for hours
        done.set()


def test_an_answer_is_cut_off_at_its_size() -> None:
    def endless(peer: socket.socket, head: bytes) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.sendall(b"x" * 65536)

    with server(says(b"x" * 1000)) as (port, _):
        assert len(fetch("GET", f"http://127.0.0.1:{port}/", max_bytes=1000).body) == 1000
        with pytest.raises(FetchError, match="larger than 999 bytes"):
            fetch("GET", f"http://127.0.0.1:{port}/", max_bytes=999)
    with server(endless) as (port, _), pytest.raises(FetchError, match="larger than 1,000,000 bytes"):
        fetch("GET", f"http://127.0.0.1:{port}/", max_bytes=1_000_000)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_compressed_answers_are_counted_as_what_they_grow_to(pack: Callable[[bytes], bytes]) -> None:
    coding = "Content-Encoding: gzip\r\n" if pack is gzip.compress else "Content-Encoding: deflate\r\n"
    text = b"0123456789" * 100
    with server(says(pack(text), headers=coding)) as (port, heads):
        assert fetch("GET", f"http://127.0.0.1:{port}/", max_bytes=1000).body == text
        assert b"Accept-Encoding: gzip\r\n" in heads[0]
    bomb = pack(b"\0" * 50_000_000)
    assert len(bomb) < 60_000
    with server(says(bomb, headers=coding)) as (port, _), pytest.raises(FetchError, match="larger than 100,000 bytes"):
        fetch("GET", f"http://127.0.0.1:{port}/", max_bytes=100_000)


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b"not gzip", "Content-Encoding: gzip\r\n", "broken"),
        (gzip.compress(b"hello", mtime=0)[:-6], "Content-Encoding: gzip\r\n", "ends too early"),
        (b"x", "Content-Encoding: br\r\n", "nobody asked for"),
    ],
)
def test_broken_compression_is_said(body: bytes, headers: str, said: str) -> None:
    with server(says(body, headers=headers)) as (port, _), pytest.raises(FetchError, match=said):
        fetch("GET", f"http://127.0.0.1:{port}/")


def test_what_is_no_http_and_nobody_there_are_said() -> None:
    mail = server(lambda peer, head: peer.sendall(b"220 mail ESMTP\r\n"))
    with mail as (port, _), pytest.raises(FetchError, match="did not answer as it should"):
        fetch("GET", f"http://127.0.0.1:{port}/")
    with pytest.raises(FetchError, match="did not answer as it should"):
        fetch("GET", f"http://127.0.0.1:{port}/")


def test_an_ipv6_literal_is_asked() -> None:
    with server(says(), host="::1") as (port, heads):
        assert fetch("GET", f"http://[::1]:{port}/").body == b"hello"
        assert f"Host: [::1]:{port}".encode() in heads[0]


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(says(b"proxy")) as (proxy, used), server(says()) as (port, _):
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert fetch("GET", f"http://127.0.0.1:{port}/").body == b"hello"
        assert used == []


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A server's certificate for netbox.example, which SSL_CERT_FILE makes trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "netbox.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("netbox.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    chain, secret = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    pinned._trust.cache_clear()
    yield context
    pinned._trust.cache_clear()


def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *more, **named: real("127.0.0.1" if str(host).endswith(".example") else host, *more, **named),
    )


def test_tls_is_checked_against_the_name_although_the_address_is_pinned(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    _named(monkeypatch)
    seen: list[str | None] = []
    tls.sni_callback = lambda _, name, __: seen.append(name)
    with server(says(), tls=tls) as (port, heads):
        assert fetch("GET", f"https://netbox.example:{port}/").body == b"hello"
        assert seen == ["netbox.example"]
        assert f"Host: netbox.example:{port}".encode() in heads[0]
        for host in ("other.example", "127.0.0.1"):
            with pytest.raises(FetchError, match=r"(?i)mismatch|not valid"):
                fetch("GET", f"https://{host}:{port}/")
        assert len(heads) == 1


def test_an_unknown_authority_is_refused(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    _named(monkeypatch)
    monkeypatch.delenv("SSL_CERT_FILE")
    pinned._trust.cache_clear()
    with server(says(), tls=tls) as (port, heads):
        with pytest.raises(FetchError, match=r"(?i)certificate"):
            fetch("GET", f"https://netbox.example:{port}/")
        assert heads == []


def test_a_silent_tls_server_is_left_when_the_time_is_over() -> None:
    """It takes the connection and says nothing, so the handshake hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(FetchError, match="longer than"):
        fetch("GET", f"https://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.5)


def test_httpx_is_loaded_by_whoever_fetches_first() -> None:
    import subprocess
    import sys

    code = "import core.outbound, sys; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert outbound.MAX_BYTES == 10_000_000
