"""The demo's mail server: what it answered 250 to lies on disk."""

import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MAIL = b"Subject: x\r\n\r\nA line\r\n.dot\r\n"


def command(folder: Path, port: int = 0) -> list[str]:
    return [sys.executable, "-m", "lab.mail_sink", "--port", str(port), "--folder", str(folder)]


@contextmanager
def sink(folder: Path, prefix: tuple[str, ...] = ()) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running sink and its port."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*prefix, *command(folder)], **pipes)  # type: ignore[call-overload]
    try:
        ready = process.stdout.readline()
        assert ready.startswith("mail sink is ready: 127.0.0.1:"), ready
        yield process, int(ready.rpartition(":")[2])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def send(port: int, content: bytes = MAIL) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as smtp:
        smtp.sendmail("a@example.org", ["b@example.org"], content)


def test_each_mail_is_one_file_in_the_order_of_arrival(tmp_path: Path) -> None:
    with sink(tmp_path / "mail") as (_, port):
        for number in range(12):
            send(port, f"Subject: {number}\r\n\r\n.dot\r\n".encode())
        files = sorted((tmp_path / "mail").iterdir())
        assert [file.suffix for file in files] == [".eml"] * 12
        assert [file.read_bytes() for file in files] == [f"Subject: {n}\r\n\r\n.dot\r\n".encode() for n in range(12)]
    assert (tmp_path / "mail").stat().st_mode & 0o777 == 0o700


def test_it_ends_quietly_on_sigterm(tmp_path: Path) -> None:
    with sink(tmp_path) as (process, port):
        send(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_what_was_answered_survives_kill(tmp_path: Path) -> None:
    with sink(tmp_path) as (process, port):
        send(port)
        process.kill()
        process.wait(30)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [MAIL]


def test_a_full_disk_is_452_and_leaves_no_half_file(tmp_path: Path) -> None:
    # A limit on the size of files is a full disk as far as a writer can tell; Python ignores SIGXFSZ.
    limit = ("prlimit", "--fsize=4096")
    if subprocess.run(["prlimit", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("prlimit is not installed")
    with sink(tmp_path, limit) as (_, port):
        with pytest.raises(smtplib.SMTPDataError) as refused:
            send(port, MAIL + b"x" * 900 + b"\r\n" + (b"y" * 900 + b"\r\n") * 20)
        assert refused.value.smtp_code in (451, 452)
        assert list(tmp_path.iterdir()) == []
        send(port)
        assert len(list(tmp_path.iterdir())) == 1


def test_no_space_left_is_452(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio
    import errno

    from aiosmtpd.smtp import Envelope

    from lab.mail_sink import Folder

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    envelope = Envelope()
    envelope.content = MAIL
    answer = asyncio.run(Folder(tmp_path).handle_DATA(None, None, envelope))  # type: ignore[arg-type]
    assert answer.startswith("452 ")
    assert list(tmp_path.iterdir()) == []


def test_a_mail_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    with sink(tmp_path) as (_, port):
        with pytest.raises(smtplib.SMTPException):
            send(port, MAIL + (b"x" * 900 + b"\r\n") * 12_000)
        assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with sink(tmp_path) as (_, port):
        second = subprocess.run(command(tmp_path, port), capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"port {port}" in second.stderr


@pytest.mark.parametrize("port", [-1, 70000])
def test_an_impossible_port_is_one_line(tmp_path: Path, port: int) -> None:
    done = subprocess.run(command(tmp_path, port), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run(command(tmp_path / "file" / "x"), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
