"""Each rule of each pack, on the lines its file says."""

import pytest

from consoles.packs import PackRule, packs
from consoles.patterns import MAX_PATTERN, PatternSet, complaint

RULES = {rule.name: rule for pack in packs().values() for rule in pack.rules}


def test_the_packs_are_those_of_common_systems() -> None:
    assert set(packs()) == {"linux", "ios", "nxos", "junos", "eos"}
    assert len(RULES) == sum(len(pack.rules) for pack in packs().values())
    for pack in packs().values():
        about = " ".join(rule.name for rule in pack.rules)
        assert all(each in about for each in ("link down", "login failed", "ECC", "disk error")), about
        assert "panic" in about or "crash" in about


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_what_it_matches_and_what_it_passes(rule: PackRule) -> None:
    assert not complaint(rule.pattern)
    assert len(rule.pattern) <= MAX_PATTERN
    assert len(rule.name) <= 60
    assert rule.severity in ("critical", "warning")
    assert 10 <= rule.hold_s <= 86400
    alone = PatternSet([(1, rule.pattern)])
    assert rule.matches
    assert rule.passes
    for line in rule.matches:
        for end in ("\n", "\r\n", "  \r\n"):
            assert list(alone.of_lines(0, (line + end).encode())) == [(0, line, [1])]
    for line in rule.passes:
        assert not alone.of_line(line), line
