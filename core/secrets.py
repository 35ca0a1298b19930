"""Secrets at rest: a model field whose value is encrypted in the database under the installation's rotating key."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models


class SecretsLocked(RuntimeError):
    """A stored secret cannot be read under any of the keys in NETOPS_SECRETS_KEY."""


def cipher() -> MultiFernet:
    """Encrypts under the first key, reads under any of them (`settings.SECRETS_KEYS()`, newest first)."""
    return MultiFernet([_fernet(key) for key in settings.SECRETS_KEYS()])


def under_newest_key(token: str) -> bool:
    """Whether `token` was encrypted under the first key."""
    try:
        _fernet(settings.SECRETS_KEYS()[0]).decrypt(token)
    except InvalidToken:
        return False
    return True


def _fernet(key: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))


class SecretField(models.TextField):  # type: ignore[type-arg]
    """Holds any JSON value, stored as a Fernet token. Never filtered by, never in an answer, never tracked."""

    def from_db_value(self, value: str | None, *_: Any) -> Any:
        if not value:
            return None
        try:
            return json.loads(cipher().decrypt(value))
        except InvalidToken:
            raise SecretsLocked(
                f"{self.model._meta.label}.{self.name} cannot be read: put the key it was written with into "
                "NETOPS_SECRETS_KEY, behind the new one and a comma."
            ) from None

    def get_prep_value(self, value: Any) -> str:
        return cipher().encrypt(json.dumps(value).encode()).decode() if value else ""

    def to_python(self, value: Any) -> Any:
        return value
