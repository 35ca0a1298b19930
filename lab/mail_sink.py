"""A mail server that keeps what it gets: `python -m lab.mail_sink --port N --folder DIR`.

It answers 250 only once a mail lies in the folder as a whole `.eml` file, named by time and number; so what a client
believes to be delivered is there, whatever is killed. Listens on loopback only. Needs no Django.
"""

import argparse
import asyncio
import contextlib
import errno
import itertools
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

MAX_BYTES = 10 * 1024 * 1024


class Folder:
    """The handler that aiosmtpd calls with each mail."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = itertools.count(1)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """aiosmtpd's hook: the answer to the client."""
        assert isinstance(envelope.content, bytes)
        try:
            await asyncio.to_thread(self.store, envelope.content)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            print(f"mail sink: a mail was not stored: {error.strerror}: {self.path}", file=sys.stderr, flush=True)
            return "452 4.3.1 The disk is full" if full else "451 4.3.0 The mail could not be stored"
        return "250 2.0.0 Stored"

    def store(self, content: bytes) -> Path:
        """Write one mail so that it is there whole, or not at all; raises OSError."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{next(self.number):06d}.eml"
        draft, final = self.path / f".{name}", self.path / name
        try:
            with draft.open("xb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            draft.rename(final)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return final


async def serve(port: int, folder: Path) -> None:
    """Serve until SIGTERM or SIGINT; raises OSError where the port is taken."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def smtp() -> SMTP:
        return SMTP(
            handler,
            hostname="localhost",
            ident="netops mail sink",
            enable_SMTPUTF8=True,
            data_size_limit=MAX_BYTES,
            timeout=60,
            loop=loop,
        )

    handler = Folder(folder)
    server = await loop.create_server(smtp, "127.0.0.1", port)
    print(f"mail sink is ready: 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.mail_sink", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="0 takes any free one")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        given.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"mail sink: {given.folder} cannot be made ({error.strerror}): name another --folder.")
    try:
        asyncio.run(serve(given.port, given.folder))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        sys.exit(f"mail sink: port {given.port} cannot be used ({reason}): free it or name another --port.")


if __name__ == "__main__":
    main()
