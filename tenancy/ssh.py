"""Who comes to the SSH door: people's public keys and one-time passwords, and the key by which people know the door."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from core.keys import made_once, new_ssh_key
from core.live import group, send_to
from core.scope import team_scope
from tenancy.models import Seat, SshKey, SshKeyChange, SshPassword, User
from tenancy.services import token_digest

KINDS = {
    "ssh-ed25519": "ED25519",
    "sk-ssh-ed25519@openssh.com": "ED25519 on a security key",
    "ecdsa-sha2-nistp256": "ECDSA 256",
    "ecdsa-sha2-nistp384": "ECDSA 384",
    "ecdsa-sha2-nistp521": "ECDSA 521",
    "sk-ecdsa-sha2-nistp256@openssh.com": "ECDSA on a security key",
    "ssh-rsa": "RSA",
}
RSA_BITS = 2048
MOST_KEYS = 20
PASSWORD_LIFE = timedelta(minutes=10)
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Of a one-time password: none is taken for another."""


@transaction.atomic
def ssh_key_add(*, user: User, line: str, name: str = "") -> SshKey:
    """Take a line of a `.pub` file; its comment is the name unless there is one. Raises ValidationError."""
    kind, fingerprint, comment = _read(line)
    if SshKey.objects.filter(user=user).count() >= MOST_KEYS:
        raise ValidationError({"line": f"You have {MOST_KEYS} keys: remove one that you no longer use."})
    called = "".join(each for each in name or comment or kind if each.isprintable())[:60].strip() or kind
    key = SshKey(user=user, name=called, kind=kind, fingerprint=fingerprint)
    try:
        with transaction.atomic():
            key.save()
    except IntegrityError:
        raise ValidationError({"line": "This key is on your list already."}) from None
    _note(key, "added")
    return key


@transaction.atomic
def ssh_key_remove(*, key: SshKey) -> None:
    """Who is at a console with it is out at once."""
    key.delete()
    _note(key, "removed")
    assert key.user_id
    for seat in Seat.of_user(key.user_id):
        send_to(group(seat.team_id), {"type": "members"})  # who is in has to show again that they may


def ssh_key_used(*, pk: int) -> None:
    """Note that a key was used, to the minute."""
    now = timezone.now()
    stale = Q(last_used__isnull=True) | Q(last_used__lt=now - timedelta(minutes=1))
    SshKey.objects.filter(stale, pk=pk).update(last_used=now)


@transaction.atomic
def ssh_password_issue(*, user: User) -> str:
    """The secret that lets `user` in once within PASSWORD_LIFE; one that was made before is dead."""
    now = timezone.now()
    secret = "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))
    SshPassword.objects.filter(Q(user=user) | Q(expires__lt=now)).delete()
    SshPassword.objects.create(user=user, digest=token_digest(secret), expires=now + PASSWORD_LIFE)
    return secret


def ssh_password_spend(*, username: str, secret: str) -> bool:
    """Whether it lets this person in. In one statement: of two that come with it, one gets in."""
    with connection.cursor() as cursor:
        cursor.execute(
            f'DELETE FROM "{SshPassword._meta.db_table}" p USING "{User._meta.db_table}" u WHERE p.digest = %s'
            " AND p.user_id = u.id AND u.username = %s AND u.is_active AND p.expires > clock_timestamp() RETURNING 1",
            [token_digest(secret), username],
        )
        return cursor.fetchone() is not None


def host_key_file() -> Path:
    """The private key of the SSH door; made at first use."""
    return made_once(settings.DATA / "console_ssh_key", new_ssh_key)


@dataclass(frozen=True)
class SshPerson:
    """Who may come to the SSH door. `keys`: fingerprint -> id; `seats` by name of the team."""

    user_id: int
    name: str
    keys: dict[str, int]
    seats: tuple[Seat, ...]


def ssh_people(*, username: str | None = None) -> list[SshPerson]:
    """The one of this name, else everybody who has a key; nobody whose account is switched off."""
    keys: dict[int, dict[str, int]] = {}
    wanted = SshKey.objects.all() if username is None else SshKey.objects.filter(user__username=username)
    for user_id, fingerprint, pk in wanted.values_list("user_id", "fingerprint", "pk"):
        keys.setdefault(user_id, {})[fingerprint] = pk
    users = User.objects.filter(is_active=True)
    users = users.filter(pk__in=keys) if username is None else users.filter(username=username)
    people = dict(users.values_list("pk", "username"))
    seats = Seat.of_users(people)
    return [SshPerson(pk, name, keys.get(pk, {}), tuple(seats.get(pk, ()))) for pk, name in people.items()]


@cache
def host_fingerprint() -> str:
    """What people compare of it when they come first."""
    key = load_ssh_private_key(host_key_file().read_bytes(), None).public_key()
    return _fingerprint(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])


def _read(line: str) -> tuple[str, str, str]:
    """(kind, fingerprint, comment) of a public key as OpenSSH writes it."""
    if "PRIVATE KEY" in line:
        raise ValidationError({"line": "This is a private key: never show it. Paste the .pub file beside it."})
    parts = line.split(None, 2)
    if len(line.strip().splitlines()) != 1 or len(parts) < 2:
        raise ValidationError({"line": "Paste one line of a .pub file, as in: ssh-ed25519 AAAA… you@laptop"})
    if parts[0] not in KINDS:
        if any(each in KINDS for each in line.split()):
            raise ValidationError({"line": "Options are not taken: leave out what stands before the kind of the key."})
        raise ValidationError({"line": f"Keys of the kind {parts[0][:40]!r} are not taken: use ed25519, ECDSA or RSA."})
    try:
        base64.b64decode(parts[1], validate=True)
        key = load_ssh_public_key(f"{parts[0]} {parts[1]}".encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValidationError({"line": "This key is damaged: copy the whole line of the .pub file."}) from None
    kind = KINDS[parts[0]]
    if isinstance(key, RSAPublicKey):
        kind = f"RSA {key.key_size}"
        if key.key_size < RSA_BITS:
            raise ValidationError({"line": f"An RSA key needs {RSA_BITS} bits, this has {key.key_size}: make another."})
    return kind, _fingerprint(parts[1].encode()), parts[2].strip() if len(parts) > 2 else ""


def _fingerprint(blob: bytes) -> str:
    """As OpenSSH prints it, of a public key in base64."""
    digest = hashlib.sha256(base64.b64decode(blob)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _note(key: SshKey, change: str) -> None:
    assert key.user_id
    for seat in Seat.of_user(key.user_id):
        with team_scope(seat.team_id):
            called = f"{key.name} ({key.kind}, {key.fingerprint})"
            SshKeyChange.objects.create(user_id=key.user_id, change=change, key=called)
