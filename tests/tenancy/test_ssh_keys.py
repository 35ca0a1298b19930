"""One's own SSH keys and one-time passwords: what is taken, how it is told, and that it is spent."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from core.scope import team_scope
from tenancy import ssh
from tenancy.models import SshKey, SshPassword, Team, User
from tenancy.trail import Wanted, entries
from tests.tenancy.test_account import signed_in_by_typing
from tests.tenancy.test_pages import PASSWORD


def new_key(folder: Path, *options: str) -> Path:
    """A key pair as people make it; the private half."""
    path = folder / f"key-{len(list(folder.iterdir()))}"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "alice@laptop", "-f", str(path), *options], check=True)
    return path


def public(path: Path) -> str:
    return path.with_suffix(".pub").read_text()


def confirmed(user: str = "alice") -> Client:
    """A browser that gave the password again a moment ago."""
    client = signed_in_by_typing(user)
    assert client.get("/account/ssh-keys/").headers["Location"].startswith("/account/confirm/")
    client.post("/account/confirm/?next=/account/ssh-keys/", {"password": PASSWORD})
    return client


def test_a_key_is_added_shown_and_removed_and_the_teams_read_of_it(alice: User, team: Team, tmp_path: Path) -> None:
    key, client = new_key(tmp_path, "-t", "ed25519"), confirmed()
    html = client.post("/account/ssh-keys/", {"line": public(key)}, follow=True).content.decode()
    told = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True).stdout
    assert "The key alice@laptop opens your consoles now." in html
    assert told.split()[1] in html
    assert ssh.host_fingerprint() in html
    kept = SshKey.objects.get()
    ssh.ssh_key_used(pk=kept.pk)
    assert "ED25519, used" in client.get("/account/").content.decode()
    assert client.post(f"/account/ssh-keys/{kept.pk}/remove/").status_code == 302
    assert client.post(f"/account/ssh-keys/{kept.pk}/remove/").status_code == 404
    assert not SshKey.objects.exists()
    with team_scope(team.pk):
        found = entries(Wanted(model="tenancy.sshkeychange"))
    changes = [{each.field: each.after for each in entry.changes} for entry in found]
    assert [(each["change"], each["user"], told.split()[1] in each["key"]) for each in changes] == [
        ("removed", "alice", True), ("added", "alice", True),
    ]  # fmt: skip
    assert {(entry.who, entry.door) for entry in found} == {("alice", "page")}


def test_nobody_else_sees_or_removes_it(
    alice: User, charlie_client: Client, bob_client: Client, tmp_path: Path
) -> None:
    key = ssh.ssh_key_add(user=alice, line=public(new_key(tmp_path, "-t", "ed25519")))
    for client in (bob_client, charlie_client):
        assert key.fingerprint not in client.get("/account/").content.decode()
        assert client.post(f"/account/ssh-keys/{key.pk}/remove/").status_code == 404
    assert SshKey.objects.exists()


@pytest.mark.parametrize("options", [("-t", "ecdsa", "-b", "384"), ("-t", "rsa", "-b", "2048")])
def test_other_good_kinds_are_taken(options: tuple[str, ...], alice: User, tmp_path: Path) -> None:
    assert ssh.ssh_key_add(user=alice, line=public(new_key(tmp_path, *options)), name="old one").name == "old one"
    assert SshKey.objects.get().kind in ("ECDSA 384", "RSA 2048")


def test_what_is_wrong_with_a_line_is_one_sentence(alice: User, tmp_path: Path) -> None:
    key = new_key(tmp_path, "-t", "ed25519")
    line, short = public(key), public(new_key(tmp_path, "-t", "rsa", "-b", "1024"))
    kind, blob, _ = line.split()
    subprocess.run(["ssh-keygen", "-q", "-s", str(key), "-I", "x", str(key.with_suffix(".pub"))], check=True)
    wrong = {
        key.read_text(): "This is a private key",
        "hello": "Paste one line",
        f"{line}{short}": "Paste one line",
        f'command="id" {line}': "Options are not taken",
        f"restrict,port-forwarding {line}": "Options are not taken",
        f"ssh-dss {blob}": "Keys of the kind 'ssh-dss'",
        Path(f"{key}-cert.pub").read_text(): "Keys of the kind 'ssh-ed25519-cert",
        f"{kind} {blob[:-4]}": "This key is damaged",
        f"{kind} !!!!": "This key is damaged",
        f"ssh-rsa {blob}": "This key is damaged",
        short: "An RSA key needs 2048 bits, this has 1024",
        "\0": "Paste one line",
        f"ssh-ed25519 \u00e9{blob}": "This key is damaged",
    }
    for text, sentence in wrong.items():
        with pytest.raises(ValidationError) as refusal:
            ssh.ssh_key_add(user=alice, line=text)
        assert refusal.value.message_dict["line"][0].startswith(sentence)
    ssh.ssh_key_add(user=alice, line=line)
    with pytest.raises(ValidationError, match="on your list already"):
        ssh.ssh_key_add(user=alice, line=line)
    html = confirmed().post("/account/ssh-keys/", {"line": f"no-pty {line}"}).content.decode()
    assert "Options are not taken" in html


def test_a_comment_brings_no_control_characters_and_keys_have_a_limit(
    alice: User, tmp_path: Path, monkeypatch: Any
) -> None:
    kind, blob, _ = public(new_key(tmp_path, "-t", "ed25519")).split()
    key = ssh.ssh_key_add(user=alice, line=f"{kind} {blob} la\x1b[31m\u202eptop {'x' * 200}")
    assert key.name.startswith("la[31mptop xxx")
    assert len(key.name) <= 60
    monkeypatch.setattr(ssh, "MOST_KEYS", 1)
    with pytest.raises(ValidationError, match="You have 1 keys"):
        ssh.ssh_key_add(user=alice, line=public(new_key(tmp_path, "-t", "ed25519")))


def test_a_one_time_password_is_shown_once_and_lets_in_once(alice: User, bob: User) -> None:
    client = confirmed()
    assert client.get("/account/ssh-password/").status_code == 200
    assert not SshPassword.objects.exists()

    def made() -> str:
        found = re.search(r'id="ssh-password">([a-z0-9-]+)<', client.post("/account/ssh-password/").content.decode())
        assert found
        return found[1]

    older, secret = made(), made()
    assert len(secret) == 23
    assert secret not in str(SshPassword.objects.values())
    assert not ssh.ssh_password_spend(username="alice", secret=older)
    assert not ssh.ssh_password_spend(username="bob", secret=secret)
    assert not ssh.ssh_password_spend(username="alice", secret=PASSWORD)
    assert [ssh.ssh_password_spend(username="alice", secret=secret) for _ in range(2)] == [True, False]


def test_a_one_time_password_ends_with_its_time_and_with_the_account(alice: User) -> None:
    secret = ssh.ssh_password_issue(user=alice)
    User.objects.update(is_active=False)
    assert not ssh.ssh_password_spend(username="alice", secret=secret)
    User.objects.update(is_active=True)
    SshPassword.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert not ssh.ssh_password_spend(username="alice", secret=secret)


def test_the_doors_own_key_is_made_once_and_is_nobody_elses(db: None) -> None:
    path = ssh.host_key_file()
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert ssh.host_key_file().read_bytes() == before
    told = subprocess.run(["ssh-keygen", "-lf", str(path)], capture_output=True, text=True, check=True).stdout
    assert told.split()[1] == ssh.host_fingerprint()
