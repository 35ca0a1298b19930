from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pi_agent.config import Config
from pi_agent.enrol import enrol
from pi_agent.enrolment import ENROL_PATH, JoinToken, enrol_message
from pi_agent.identity import Identity, IdentityError, verify
from pi_agent.post import PostError, check_server, explain, open_connection, post
from pi_agent.registration import Registration
from pi_agent.state import Enrolled
from tests.pi_agent.web import ENROLLED, serving

SECRET = "0123456789abcdef" * 2


def config(folder: Path) -> Config:
    return Config(state=str(folder / "state"))


def test_enrolling_proves_the_key_and_keeps_what_the_server_says(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        token = JoinToken(SECRET, web.pin)
        done = enrol(web.url, str(token), config(tmp_path))
    assert web.paths == [ENROL_PATH]
    told = json.loads(web.bodies[0])
    identity = Identity.load(tmp_path / "state/agent.key")
    assert (told["token"], told["key"]) == (token.secret, identity.public.hex())
    assert verify(identity.public, bytes.fromhex(told["signature"]), enrol_message(token.secret, identity.public))
    assert Registration.parse(json.dumps(told["registration"]).encode()).hostname
    assert (done.agent, done.waiting, done.key) == ("pi-rack4", False, identity.public)
    kept = Enrolled(web.url, web.pin.hex(), "pi-rack4", ENROLLED["link"])
    assert Enrolled.load(tmp_path / "state") == kept
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "state").rglob("*")} == {0}
    assert token.secret not in "".join(path.read_text() for path in (tmp_path / "state").iterdir())


def test_the_key_that_is_there_is_used(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    identity = Identity.create(tmp_path / "state/agent.key")
    with serving(tmp_path) as web:
        web.answer = json.dumps(ENROLLED | {"state": "waiting"}).encode()
        done = enrol(web.url, str(JoinToken(SECRET, web.pin)), config(tmp_path))
    assert (done.waiting, done.key) == (True, identity.public)
    (tmp_path / "state/agent.key").chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        enrol(web.url, str(JoinToken(SECRET, web.pin)), config(tmp_path))


def test_what_root_makes_belongs_to_the_agent(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    owner = 65534 if os.geteuid() == 0 else os.getuid()
    os.chown(tmp_path / "state", owner, -1)
    with serving(tmp_path) as web:
        enrol(web.url, str(JoinToken(SECRET, web.pin)), config(tmp_path))
    assert {path.stat().st_uid for path in (tmp_path / "state").iterdir()} == {owner}


def test_another_key_gets_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        with pytest.raises(PostError, match="the server has another key than the one the token named"):
            enrol(web.url, str(JoinToken(SECRET, bytes(32))), config(tmp_path))
        with pytest.raises(PostError, match="does not speak the TLS that is wanted"):
            post(web.url, "/", b"{}", None)
    assert web.bodies == []


@pytest.mark.parametrize("scheme", ["http", "unix"])
def test_without_tls_only_on_this_machine(tmp_path: Path, scheme: str) -> None:
    with serving(tmp_path, scheme) as web:
        assert enrol(web.url, str(JoinToken(SECRET, bytes(32))), config(tmp_path)).agent == "pi-rack4"
    assert web.paths == [ENROL_PATH]


@pytest.mark.parametrize("url", ["http://192.0.2.1", "https://", "ftp://x", "https://x:99999", "x", "https://x/?a=1"])
def test_a_url_that_cannot_be_used_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="the server must be given as https") as error:
        check_server(url)
    assert url not in str(error.value).replace("https://host", "").replace("http:// ", "")


@pytest.mark.parametrize(
    ("status", "answer", "sentence"),
    [
        (400, {"detail": "This token cannot be used."}, "the server refuses: This token cannot be used."),
        (400, {"key": ["This key cannot be enrolled."]}, "the server refuses: key: This key cannot be enrolled."),
        (429, {"detail": "slow\u001b[2J down"}, "the server refuses: slow\ufffd[2J down"),
        (500, None, "the server refuses: HTTP status 500"),
        (302, None, "the server refuses: HTTP status 302"),
        (201, None, "the server refuses: HTTP status 201"),
        (201, ENROLLED | {"link": 1}, "the server's answer: link must be printable text"),
        (201, ENROLLED | {"agent": ""}, "the server's answer: agent must be printable text"),
        (201, [], "the server's answer must be a JSON object"),
        (400, {"detail": "the token {secret} is spent"}, "the server refuses: the token … is spent"),
    ],
)
def test_a_refusal_is_told_and_never_the_token(tmp_path: Path, status: int, answer: object, sentence: str) -> None:
    with serving(tmp_path) as web:
        token = JoinToken(SECRET, web.pin)
        text = "<html>" if answer is None else json.dumps(answer).replace("{secret}", token.secret)
        web.status, web.answer = status, text.encode()
        with pytest.raises(PostError) as error:
            enrol(web.url, str(token), config(tmp_path))
    assert str(error.value).startswith(sentence)
    assert token.secret not in str(error.value)
    assert Enrolled.load(tmp_path / "state") is None


def test_a_link_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        web.answer = json.dumps(ENROLLED | {"link": "http://x"}).encode()
        with pytest.raises(ValueError, match="must be ws://host:port/link"):
            enrol(web.url, str(JoinToken(SECRET, web.pin)), config(tmp_path))


def test_a_proxy_is_used_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://192.0.2.1:3128")
    connection = open_connection("https://server.example", bytes(32))
    assert (connection.host, connection.port) == ("192.0.2.1", 3128)
    assert explain(TimeoutError(), "https://server.example").startswith("192.0.2.1 port 3128 does not answer")
    monkeypatch.setenv("NO_PROXY", "server.example")
    connection = open_connection("https://server.example", bytes(32))
    assert (connection.host, connection.port) == ("server.example", 443)
