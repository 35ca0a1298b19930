"""python -m lab.vantage: the machine at one end of the lab. The real netops-agent enrols on it, once, and then runs."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

AGENT = [sys.executable, "-m", "pi_agent"]
AGAIN_S = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.vantage", description=__doc__)
    parser.add_argument("--server", required=True, help="unix:/path of the gateway, for no wire of the lab leads out")
    parser.add_argument("--token", type=Path, required=True, help="file of the join token; gone once it is spent")
    parser.add_argument("--state", type=Path, required=True, help="folder of what the agent keeps")
    parser.add_argument("--key", type=Path, required=True)
    options = parser.parse_args()
    kept = ["--state", str(options.state), "--key", str(options.key)]
    while options.token.exists() and not (options.state / "enrolled.json").exists():
        with options.token.open() as token:
            enrolled = subprocess.run(
                [*AGENT, "enrol", options.server, "-", *kept], stdin=token, stdout=subprocess.DEVNULL
            )
        if enrolled.returncode:
            time.sleep(AGAIN_S)
    options.token.unlink(missing_ok=True)
    os.execv(sys.executable, [*AGENT, "run", "--link", options.server, *kept])


if __name__ == "__main__":
    main()
