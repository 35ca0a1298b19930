"""A stand-in for an organisation's OpenID provider: the code flow of OpenID Connect Core with PKCE, on loopback."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa


class StandInProvider:
    """`claims` is whoever is signed in there; None is somebody who clicks Cancel."""

    client_id, secret = "netops-test", "s3cret"

    def __init__(self) -> None:
        self.claims: dict[str, Any] | None = {"sub": "1"}
        self.codes: dict[str, dict[str, str]] = {}
        self.seen: list[str] = []
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._access = secrets.token_urlsafe()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._answer(self, dict(parse_qsl(urlsplit(self.path).query)))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider._answer(self, {name: values[0] for name, values in parse_qs(body).items()})

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def _answer(self, handler: BaseHTTPRequestHandler, given: dict[str, str]) -> None:
        path = urlsplit(handler.path).path
        self.seen.append(path)
        if path == "/authorize":
            handler.send_response(302)
            handler.send_header("Location", self._authorize(given))
            handler.end_headers()
            return
        routes = {"/.well-known/openid-configuration": self._configuration, "/jwks": self._jwks}
        if path in routes:
            status, answer = 200, routes[path]()
        elif path == "/token":
            status, answer = self._token(given)
        else:
            asked_right = handler.headers.get("Authorization") == f"Bearer {self._access}"
            status, answer = (200, dict(self.claims or {})) if asked_right else (401, {})
        body = json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/jwks",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def _jwks(self) -> dict[str, Any]:
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "kid": "1", "use": "sig", "alg": "RS256"}]}

    def _authorize(self, given: dict[str, str]) -> str:
        back = {"state": given["state"]}
        if self.claims is None:
            return f"{given['redirect_uri']}?{urlencode({**back, 'error': 'access_denied'})}"
        assert given["client_id"] == self.client_id
        assert given["code_challenge_method"] == "S256"
        assert "openid" in given["scope"].split()
        code = secrets.token_urlsafe()
        self.codes[code] = given
        return f"{given['redirect_uri']}?{urlencode({**back, 'code': code})}"

    def _token(self, given: dict[str, str]) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(given.get("code", ""), None)
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            asked is None
            or asked["code_challenge"] != challenge
            or asked["redirect_uri"] != given["redirect_uri"]
            or (given["client_id"], given["client_secret"]) != (self.client_id, self.secret)
        ):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        token = {**(self.claims or {}), "iss": self.url, "aud": self.client_id, "iat": now, "exp": now + 300}
        signed = jwt.encode(token, self._key, algorithm="RS256", headers={"kid": "1"})
        return 200, {"access_token": self._access, "token_type": "Bearer", "expires_in": 300, "id_token": signed}


@contextmanager
def stand_in_provider() -> Iterator[StandInProvider]:
    provider = StandInProvider()
    thread = threading.Thread(target=provider.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.server.shutdown()
        provider.server.server_close()
        thread.join(5)
