"""Where the bars of a timeline stand."""

from datetime import date

import pytest

from mailward.store.queries.daily import Day, Timeline
from mailward.web.chart import HEIGHT, describe, draw

DAY = date(2024, 9, 3)


def test_a_day_of_success_and_failure_is_stacked_to_its_share_of_the_scale() -> None:
    (bar,) = draw(Timeline("sts", (Day(DAY, 75, 25, 1),))).bars
    assert (bar.ok_y, bar.ok_height, bar.failed_y, bar.failed_height) == (0, 75, 75, 25)


def test_one_failure_in_a_million_can_be_seen() -> None:
    (bar,) = draw(Timeline("sts", (Day(DAY, 999_999, 1, 1),))).bars
    assert bar.failed_height == 2
    assert bar.ok_height + bar.failed_height <= HEIGHT


@pytest.mark.parametrize(
    ("most", "top"),
    [(0, 2), (1, 2), (3, 4), (5, 10), (11, 20), (100, 100), (101, 200), (4_001, 10_000)],
)
def test_the_scale_ends_at_a_round_number_with_a_whole_half(most: int, top: int) -> None:
    assert draw(Timeline("sts", (Day(DAY, most, 0, 1),))).top == top


def test_a_day_without_a_report_says_so() -> None:
    assert describe(Day(DAY, 0, 0, 0)) == "3 Sep 2024: no report"
    assert describe(Day(DAY, 1198, 6, 1)) == "3 Sep 2024: 1,198 encrypted, 6 failed"
