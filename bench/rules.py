"""Rules on console output: 1,000 patterns on lines as ears look at them, on one core, against Python's re one by one.

Patterns are those of the packs and made ones of the same shapes; about one line in a thousand matches. Seconds are
those of the processor: both work in one thread.
"""

import random
import re
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.support import finish, quick, spread, table
from consoles.packs import packs
from consoles.patterns import PatternSet

CHUNK = 64 << 10
ROUNDS = 3
LINES = 100_000 if quick() else 400_000
ONE_BY_ONE = 200 if quick() else 1_000
GOAL = 400_000


def words(chance: random.Random, count: int) -> list[str]:
    letters = "abcdefghijklmnoprstuv"
    return ["".join(chance.choices(letters, k=chance.randint(4, 9))) for _ in range(count)]


def patterns_of(chance: random.Random, known: list[str]) -> list[str]:
    """1,000: mnemonics with what follows, failures of something, a beginning of a line, numbers."""
    made = [rule.pattern for pack in packs().values() for rule in pack.rules]
    while len(made) < 1000:
        one, other = chance.sample(known, 2)
        made.append(
            chance.choice(
                [
                    rf"%{one.upper()}-[0-3]-\w+: .*{other}",
                    rf"%{one.upper()}_{other.upper()}-\d-",
                    rf"\b{one} {other} failed\b",
                    rf"^{one}\[\d+\]: {other} (panic|oops)",
                    rf"{one}\d+: {other} error",
                ]
            )
        )
    return made


def output(chance: random.Random, known: list[str]) -> bytes:
    lines = []
    for number in range(LINES):
        said = " ".join(chance.choices(known, k=7))
        stamp = f"*Mar  1 {number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.{number % 1000:03}"
        name = f"%{chance.choice(known).upper()}-{chance.randint(0, 7)}-{chance.choice(known).upper()}"
        lines.append(f"{stamp}: {name}: {said}")
        if number % 1000 == 500:
            lines[-1] = f"{stamp}: %LINK-3-UPDOWN: Interface GigabitEthernet0/{number % 48}, changed state to down"
    return "".join(f"{line}\r\n" for line in lines).encode()


def all_at_once(patterns: PatternSet, data: bytes) -> tuple[float, int]:
    """(lines a second, lines that matched)."""
    start, found, place = time.process_time(), 0, 0
    while place < len(data):
        end = data.rfind(b"\n", place, place + CHUNK) + 1
        found += sum(1 for _ in patterns.of_lines(place, data[place:end]))
        place = end
    return LINES / (time.process_time() - start), found


def one_by_one(compiled: list[re.Pattern[str]], lines: list[str]) -> float:
    start = time.process_time()
    for line in lines:
        for each in compiled:
            each.search(line)
    return len(lines) / (time.process_time() - start)


def main() -> None:
    chance = random.Random(5)
    known = words(chance, 3000)
    patterns = patterns_of(chance, known)
    data = output(chance, known)
    lines = data.decode().split("\r\n")[:ONE_BY_ONE]
    ours, compiled = PatternSet(list(enumerate(patterns))), [re.compile(each) for each in patterns]
    all_at_once(ours, data)  # the automaton grows by what it meets
    rates, plain, found = [], [], 0
    for _ in range(ROUNDS):
        rate, found = all_at_once(ours, data)
        rates.append(rate)
        plain.append(one_by_one(compiled, lines))
    table(
        ("1,000 patterns", "lines a second (min / median / max)"),
        [("netops", spread(rates, 0)), ("re, one by one", spread(plain, 0))],
    )
    print(f"{found} of {LINES} lines of {len(data) / LINES:.0f} bytes matched; the goal is {GOAL} lines a second.")
    finish(lines_per_s=round(statistics.median(rates)), re_lines_per_s=round(statistics.median(plain)))


if __name__ == "__main__":
    main()
