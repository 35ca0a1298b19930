import json
import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from lab.client import LabError, request


def _percent(text: str) -> float:
    return float(text.removesuffix("%"))


class Command(BaseCommand):
    help = "Look at the lab, and break and mend its wires."

    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="action", required=True)
        commands.add_parser("up", help="run the lab in the foreground (runall does this by itself)")
        commands.add_parser("status", help="routers, links and what is broken")
        cut = self._wire(commands.add_parser("cut", help="cut a link"))
        cut.add_argument("--silent", action="store_true", help="routing does not notice")
        self._wire(commands.add_parser("heal", help="mend a link, or everything"), required=False)
        loss = self._wire(commands.add_parser("loss", help="lose packets on a link"))
        loss.add_argument("percent", type=_percent, help="for example 5%%")
        delay = self._wire(commands.add_parser("delay", help="add a delay to a link"))
        delay.add_argument("ms", type=float)

    @staticmethod
    def _wire(parser: CommandParser, *, required: bool = True) -> CommandParser:
        count = None if required else "?"
        parser.add_argument("a", nargs=count, metavar="A", help="one end, for example R2")
        parser.add_argument("b", nargs=count, metavar="B", help="the other end")
        if required:
            parser.add_argument("--one-way", action="store_true", help="only from A to B")
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "up":
            os.execv(sys.executable, [sys.executable, sys.argv[0], "run", "lab"])
        names = ("a", "b", "silent", "one_way", "percent", "ms")
        arguments = {name: options[name] for name in names if options.get(name) is not None}
        try:
            answer = request(settings.DATA / "lab", options["action"], **arguments)
        except LabError as error:
            raise CommandError(str(error)) from None
        if options["action"] == "status":
            self.stdout.write(json.dumps(answer, indent=1))
        else:
            self.stdout.write("done")
