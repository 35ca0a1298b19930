"""Requests by HTTPS to a server that is known by its key, and what went wrong in one sentence."""

from __future__ import annotations

import errno
import json
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from pi_agent.pinning import PinError, check_pin, pinned_context
from pi_agent.ports import clean

TIMEOUT_S = 15.0
MAX_ANSWER = 64 << 10


class PostError(Exception):
    """The server could not be reached, or refused; the text is one sentence. `status`: what it answered, else 0."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


def check_server(url: str) -> str:
    """Raises ValueError with one sentence unless it is https://, or for tests http:// to this machine or unix:/path.

    The sentence does not repeat what was given: who mixes up the order gives a token here.
    """
    if url.startswith("unix:/"):
        return url
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0 and not parts.query and not parts.fragment:
            parts.hostname.encode("idna")
            if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)):
                return url.rstrip("/")
    except ValueError:  # a port out of range, a name with empty labels
        pass
    raise ValueError("the server must be given as https://host[:port]; http:// is for this machine alone")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def post(url: str, path: str, body: bytes, pin: bytes | None, headers: Mapping[str, str] | None = None) -> Any:
    """The JSON that the server at `url` answers to a JSON body; raises PostError."""
    connection = open_connection(url, pin)
    prefix = "" if url.startswith("unix:") else urlsplit(url).path.rstrip("/")
    try:
        connection.request("POST", prefix + path, body, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        content = answer.read(MAX_ANSWER)
    except (OSError, HTTPException) as error:
        raise PostError(explain(error, url)) from None
    finally:
        connection.close()
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        told = None
    if answer.status in (200, 201) and told is not None:
        return told
    raise PostError(f"the server refuses: {_sentence(told) or f'HTTP status {answer.status}'}", answer.status)


def _sentence(told: object) -> str:
    """Of {"detail": sentence} or {"field": [sentences]}."""
    if not isinstance(told, dict):
        return ""
    if isinstance(told.get("detail"), str):
        return clean(told["detail"])
    lists = ((name, value) for name, value in told.items() if isinstance(value, list))
    return clean("; ".join(f"{name}: {' '.join(map(str, value))}" for name, value in lists))


def open_connection(url: str, pin: bytes | None, timeout: float = TIMEOUT_S) -> HTTPConnection:
    """To http://, https:// or unix:/path, through the environment's proxy; it connects with the first request."""
    if url.startswith("unix:"):
        return _UnixConnection(url.removeprefix("unix:"), timeout)
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return HTTPConnection(host, parts.port, timeout=timeout)
    proxy = proxy_of(url)
    if proxy is None:
        return _PinnedConnection(host, parts.port or 443, pin, timeout)
    connection = _PinnedConnection(proxy.hostname or "", proxy.port or 80, pin, timeout)
    connection.set_tunnel(host, parts.port or 443)
    return connection


def proxy_of(url: str) -> SplitResult | None:
    """The proxy through which an https:// URL is reached: HTTPS_PROXY unless NO_PROXY names the host."""
    parts = urlsplit(url)
    proxy = getproxies().get("https")
    if parts.scheme != "https" or not proxy or not parts.hostname or proxy_bypass(parts.hostname):
        return None
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


class _PinnedConnection(HTTPSConnection):
    def __init__(self, host: str, port: int, pin: bytes | None, timeout: float) -> None:
        context = ssl.create_default_context() if pin is None else pinned_context()
        super().__init__(host, port, timeout=timeout, context=context)
        self._pin = pin

    def connect(self) -> None:
        """Nothing is said before the key is known to be the right one."""
        super().connect()
        if self._pin is not None:
            try:
                check_pin(self.sock, self._pin)
            except PinError:
                self.close()
                raise


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def explain(error: Exception, url: str) -> str:
    """What is wrong and what to do, in one sentence."""
    parts = proxy_of(url) or urlsplit(url)
    host, port = parts.hostname or url, parts.port or (443 if parts.scheme in ("https", "wss") else 80)
    where = url if url.startswith("unix:") else f"{host} port {port}"
    if isinstance(error, PinError):
        return f"{error} (a proxy that opens TLS looks the same)"
    if isinstance(error, socket.gaierror):
        return f"the name {host} cannot be resolved: check the network and the name servers in /etc/resolv.conf"
    if isinstance(error, ssl.SSLError):
        reason = clean(getattr(error, "reason", "") or str(error))
        return f"{where} does not speak the TLS that is wanted ({reason}): check the URL"
    if isinstance(error, TimeoutError):
        return f"{where} does not answer: let outgoing TCP to port {port} through the firewall"
    if isinstance(error, ConnectionRefusedError):
        return f"{where} refuses connections: check the URL, that the server runs, and the firewall"
    if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
        return f"this machine itself forbids connections to {where}: see its firewall with nft list ruleset"
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return f"there is no way to {where}: check the cable or Wi-Fi, and ip route"
    reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return f"{where} cannot be talked to: {clean(reason)}"
