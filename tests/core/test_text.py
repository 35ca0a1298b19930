from hypothesis import given
from hypothesis import strategies as st

from core.text import natural_key


def test_numbers_sort_as_numbers() -> None:
    assert sorted(["R10", "r2", "R1", "ge-0/0/10", "ge-0/0/9"], key=natural_key) == [
        "ge-0/0/9", "ge-0/0/10", "R1", "r2", "R10",
    ]  # fmt: skip


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_any_two_numbers(a: int, b: int) -> None:
    assert (natural_key(f"R{a}") < natural_key(f"R{b}")) == (a < b)


@given(st.text(max_size=2000))
def test_any_text_gives_a_key_that_fits(text: str) -> None:
    assert len(natural_key(text)) <= 255
