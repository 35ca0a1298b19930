"""python -m lab run: a network of routers on this machine, for development and tests."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lab.namespace import LabUnavailable
from lab.run import StartError, run
from lab.topology import TopologyError, load

SEED = Path(__file__).with_name("seed_lab.json")


def main() -> int:
    """2 for what the user can fix on the command line, 3 where the machine cannot run a lab."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    parser.add_argument("action", choices=["run"])
    parser.add_argument("--topology", type=Path, default=SEED, help="topology file (default: the six-router lab)")
    parser.add_argument("--state", type=Path, required=True, help="folder of the control socket")
    parser.add_argument("--bgp", type=_address, required=True, metavar="HOST:PORT", help="where BGP-LS peers connect")
    parser.add_argument("--agent", metavar="NODE", help="run the command after -- inside this node")
    arguments, command = sys.argv[1:], list[str]()
    if "--" in arguments:
        split = arguments.index("--")
        arguments, command = arguments[:split], arguments[split + 1 :]
    options = parser.parse_args(arguments)
    if bool(options.agent) != bool(command):
        parser.error("--agent NODE and a command after -- belong together")
    agent = (options.agent, command) if options.agent else None
    try:
        run(load(options.topology), options.state, options.bgp, agent)
    except (TopologyError, StartError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except LabUnavailable as error:
        print(f"lab: {error}", file=sys.stderr)
        return 3
    return 0


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"must be HOST:PORT, not {text!r}")
    return host, int(port)


if __name__ == "__main__":
    sys.exit(main())
