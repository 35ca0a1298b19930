"""A server that keeps what it is sent and answers as told, by HTTPS with a key of its own, HTTP or a Unix socket."""

from __future__ import annotations

import functools
import json
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pi_agent.pinning import spki_sha256

ENROLLED = {"agent": "pi-rack4", "state": "enrolled", "link": "wss://127.0.0.1:8001/link"}


@dataclass
class Web:
    url: str = ""
    pin: bytes = b""
    status: int = 201
    answer: bytes = json.dumps(ENROLLED).encode()
    skew_s: float = 0.0
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@functools.cache
def certificate() -> tuple[bytes, bytes]:
    """(PEM of key and certificate, its pin). It has run out and names another host: neither is looked at."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere.example")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2020, 1, 2, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + made.public_bytes(Encoding.PEM), spki_sha256(made.public_bytes(Encoding.DER))


class _UnixServer(socketserver.UnixStreamServer):
    def get_request(self) -> tuple[socket.socket, Any]:
        request, _ = super().get_request()
        return request, ("unix", 0)


@contextmanager
def serving(folder: Path, scheme: str = "https") -> Iterator[Web]:
    """`folder`: where the key and the Unix socket go."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            web.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            web.paths.append(self.path)
            web.headers.append(dict(self.headers.items()))
            self.send_response(web.status)
            self.send_header("Content-Length", str(len(web.answer)))
            self.end_headers()
            self.wfile.write(web.answer)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() + web.skew_s)

        def log_message(self, *arguments: object) -> None:
            pass

    server: socketserver.BaseServer
    if scheme == "unix":
        web.url = f"unix:{folder}/web.sock"
        server = _UnixServer(f"{folder}/web.sock", Handler)
    else:
        tcp = HTTPServer(("127.0.0.1", 0), Handler)
        web.url = f"{scheme}://127.0.0.1:{tcp.server_port}"
        server = tcp
        if scheme == "https":
            pem, web.pin = certificate()
            (folder / "web.pem").write_bytes(pem)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "web.pem")
            tcp.socket = context.wrap_socket(tcp.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
