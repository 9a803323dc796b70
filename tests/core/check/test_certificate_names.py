"""A certificate's names beside the patterns of a policy, many of both."""

from hypothesis import given
from hypothesis import strategies as st

from mailward.core.check.view import matches_any
from mailward.core.names import matches_mx

LABELS = st.sampled_from(["a", "b", "*", "", "1", "192.0.2.1"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


def one_by_one(pattern: str, name: str) -> bool:
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    return matches_mx(name, pattern)


@given(st.lists(NAMES, max_size=3), st.lists(NAMES, max_size=4))
def test_the_answer_is_that_of_each_name_compared(patterns: list[str], names: list[str]) -> None:
    expected = any(one_by_one(pattern, name) for pattern in patterns for name in names)
    assert matches_any(patterns, tuple(names)) == expected


def test_many_names_and_many_patterns_cost_their_sum() -> None:
    """As many as the limits allow took ten minutes, and the test its time-out."""
    patterns = [f"*.p{number}.test" for number in range(4_000)]
    for host in range(20):
        names = tuple(f"h{number}.x{host}.test" for number in range(1_000))
        for _address in range(16):
            assert not matches_any(patterns, names)
