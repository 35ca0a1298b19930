"""HTTP to one address that the gate has judged: the name stays in TLS and in `Host`, no second look-up happens, and
one deadline holds for everything from the connection to the last byte. Loads httpx."""

import ssl
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import certifi
import httpcore
import httpx

from core.outbound import Answer, FetchError, Target

_SLICE = 16384


class _Clock:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left


class _Stream(httpcore.NetworkStream):
    """A connection whose every step gets what is left of the time: a peer that drips bytes wins nothing."""

    def __init__(self, inner: httpcore.NetworkStream, clock: _Clock) -> None:
        self._inner, self._clock = inner, clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._clock.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _SLICE):
            self._inner.write(buffer[start : start + _SLICE], self._clock.left())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._clock.left()), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Network(httpcore.NetworkBackend):
    """Connects to the judged address, whatever name is asked for."""

    def __init__(self, target: Target, clock: _Clock) -> None:
        self._target, self._clock = target, clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        to = self._target.address, self._target.port
        return _Stream(httpcore.SyncBackend().connect_tcp(*to, timeout=self._clock.left()), self._clock)


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream


class _Transport(httpx.BaseTransport):
    def __init__(self, target: Target, clock: _Clock) -> None:
        self._pool = httpcore.ConnectionPool(ssl_context=_trust(), network_backend=_Network(target, clock))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
        )
        answer = self._pool.handle_request(asked)
        assert isinstance(answer.stream, Iterable)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream))

    def close(self) -> None:
        self._pool.close()


@cache
def _trust() -> ssl.SSLContext:
    """The usual authorities, and those of the system or of SSL_CERT_FILE."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context


def request(
    target: Target,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    limit: int,
    seconds: float,
) -> Answer:
    """See core.outbound.fetch, which judged `target`."""
    clock = _Clock(seconds)
    sent = {name: value for name, value in headers.items() if name.lower() not in ("host", "accept-encoding")}
    try:
        with httpx.Client(transport=_Transport(target, clock), follow_redirects=False, trust_env=False) as client:
            asked = client.build_request(method, url, headers={**sent, "Accept-Encoding": "gzip"}, content=body)
            answer = client.send(asked, stream=True)
            if 300 <= answer.status_code < 400 and "location" in answer.headers:
                raise FetchError(f"{target.host} answers with a redirect: enter the address it leads to instead.")
            return Answer(answer.status_code, dict(answer.headers), _read(answer, target.host, limit))
    except (httpx.TimeoutException, httpcore.TimeoutException):
        raise FetchError(f"{target.host} took longer than {seconds:g} s.") from None
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise FetchError(f"{target.host} cannot be asked: {error}.") from None
    except (httpx.HTTPError, httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
        raise FetchError(f"{target.host} did not answer as it should: {str(error) or type(error).__name__}.") from None


def _read(answer: httpx.Response, host: str, max_bytes: int) -> bytes:
    """The body; what a compressed one grows to is counted while it grows."""
    encoding = answer.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise FetchError(f"{host} answers in the encoding {encoding[:40]!r}, which nobody asked for.")
    unpack = None if encoding == "identity" else zlib.decompressobj(47)
    body = bytearray()
    for chunk in answer.iter_raw():
        try:
            body += unpack.decompress(chunk, max_bytes - len(body) + 1) if unpack else chunk
        except zlib.error:
            raise FetchError(f"The compressed answer of {host} is broken.") from None
        if len(body) > max_bytes:
            raise FetchError(f"The answer of {host} is larger than {max_bytes:,} bytes.")
    if unpack and body and not unpack.eof:
        raise FetchError(f"The compressed answer of {host} ends too early.")
    return bytes(body)
