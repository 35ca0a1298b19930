"""uvicorn's WebSocket, a little lighter: a gateway has a thousand of them at rest."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class Socket(WebSocketsSansIOProtocol):
    def start_keepalive(self) -> None:
        """The handshake is over: 4 kB of its headers would stay for as long as the socket does."""
        super().start_keepalive()
        self.request.headers.clear()
        self.response.headers.clear()
