import pytest

from mailward.core.watch.clockskew import judge_clock


@pytest.mark.parametrize(
    ("offsets", "is_synchronised", "is_right", "words"),
    [
        ((), True, True, ""),
        ((), False, True, "not kept in step"),
        ((0.5, -1.2), True, True, ""),
        ((600.0,), True, True, ""),  # one host proves nothing
        ((600.0, 0.1, -0.3), True, True, ""),
        ((600.0, 610.0, 0.1), True, False, "610 seconds behind, by 2 of 3 hosts"),
        ((-7200.0, -7201.0), True, False, "7,200 seconds ahead, by 2 of 2 hosts"),
        ((600.0, 600.0), False, False, "600 seconds behind"),
    ],
)
def test_most_of_those_asked_must_agree_that_our_clock_is_wrong(
    offsets: tuple[float, ...], is_synchronised: bool, is_right: bool, words: str
) -> None:
    right, detail = judge_clock(offsets, is_synchronised=is_synchronised)
    assert right is is_right
    assert words in detail
    assert bool(words) == bool(detail)
