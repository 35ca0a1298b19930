#!/usr/bin/env python
"""netops' command line. `run` and `runall` start processes and load Django only in the roles that need it."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "netops.settings")
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "runall":
        from netops.supervisor import runall

        sys.exit(runall(sys.argv[2:]))
    if command == "crew":
        from netops.supervisor import crew

        sys.exit(crew(sys.argv[2:]))
    if command == "run":
        from netops.roles import run

        sys.exit(run(sys.argv[2:]))
    from django.core.management import execute_from_command_line

    from core.scope import at_the_command_line

    with at_the_command_line():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
