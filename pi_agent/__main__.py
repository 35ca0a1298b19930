"""The command netops-agent: `run` keeps the link and probes, `keygen` makes the agent's key."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pi_agent.identity import Identity, IdentityError
from pi_agent.link import Link, check_url
from pi_agent.outbox import Outbox
from pi_agent.prober.plan import Plan
from pi_agent.prober.prober import Prober

log = logging.getLogger("pi_agent")

QUEUE_LIMIT = 2 << 20
"""Bytes of reports kept while the server does not acknowledge them."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("websockets").setLevel(logging.ERROR)
    try:
        if options.command == "keygen":
            print(Identity.create(options.file).public.hex())
            return 0
        if not options.link or not options.key:
            parser.error("run needs --link and --key (or NETOPS_AGENT_LINK and NETOPS_AGENT_KEY)")
        asyncio.run(run(check_url(options.link), Identity.load(options.key), options.state))
    except (IdentityError, ValueError) as error:
        print(f"netops-agent: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="netops-agent", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    keygen = commands.add_parser("keygen", help="make an ed25519 key and print its public half")
    keygen.add_argument("file", type=Path)
    run_ = commands.add_parser("run", help="keep the link to the server and carry out its plans")
    run_.add_argument("--link", default=os.environ.get("NETOPS_AGENT_LINK"), help="ws://host:port/link or unix:/path")
    for name, text in (("key", "the key file"), ("state", "folder for reports that were not delivered at exit")):
        value = os.environ.get(f"NETOPS_AGENT_{name.upper()}")
        run_.add_argument(f"--{name}", type=Path, default=Path(value) if value else None, help=text)
    return parser


async def run(url: str, identity: Identity, state: Path | None) -> None:
    """Until SIGTERM or SIGINT."""
    spool = state / "reports" if state else None
    outbox = Outbox.load(spool, QUEUE_LIMIT) if spool else Outbox(QUEUE_LIMIT)
    link = Link(url, identity, lambda payload: prober.apply(Plan.from_json(payload)), outbox)
    prober = Prober(link.deliver)
    task = asyncio.create_task(link.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    prober.close()
    if spool:
        outbox.save(spool)


if __name__ == "__main__":
    sys.exit(main())
