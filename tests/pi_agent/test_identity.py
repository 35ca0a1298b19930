from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_agent.identity import Identity, IdentityError, verify


def test_a_key_is_made_once_kept_private_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made = Identity.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    loaded = Identity.load(path)
    assert loaded.public == made.public
    assert verify(made.public, loaded.sign(b"nonce"), b"nonce")
    assert not verify(made.public, loaded.sign(b"nonce"), b"other")
    with pytest.raises(IdentityError, match="exists; remove it first"):
        Identity.create(path)
    assert Identity.load(path).public == made.public


@pytest.mark.parametrize("text", ["", "xyz", "00" * 31, "00" * 33, "ÿ"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match="is not a key file"):
        Identity.load(path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Identity.create(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        Identity.load(tmp_path / "key")


def test_paths_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="keygen"):
        Identity.load(tmp_path / "none")
    with pytest.raises(IdentityError, match="cannot read"):
        Identity.load(tmp_path)
    with pytest.raises(IdentityError, match="cannot write"):
        Identity.create(tmp_path / "none" / "key")


@given(st.binary(max_size=64), st.binary(max_size=80), st.binary(max_size=20))
def test_no_bytes_break_the_check_of_a_signature(key: bytes, signature: bytes, message: bytes) -> None:
    assert verify(key, signature, message) in (True, False)
