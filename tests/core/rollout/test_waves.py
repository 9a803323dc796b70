import pytest

from mailward.core.rollout.waves import StopCode, WaveSigns, deal_waves, find_stop


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (1, 1, 0)), (50, (1, 4, 45)), (10_000, (100, 900, 9_000))],
)
def test_waves_are_one_and_ten_percent_and_the_rest(count: int, sizes: tuple[int, ...]) -> None:
    waves = deal_waves(7, range(count))
    assert tuple(len(wave) for wave in waves) == sizes
    assert sorted(each for wave in waves for each in wave) == list(range(count))


def test_the_first_wave_is_a_sample_and_another_one_each_time() -> None:
    first, again, other = (set(deal_waves(n, range(10_000))[0]) for n in (1, 1, 2))
    assert first == again
    assert first != other
    assert max(first) - min(first) > 5_000


@pytest.mark.parametrize(
    ("signs", "code"),
    [
        (WaveSigns(), None),
        (WaveSigns(sessions=10_000, refused=9), None),
        (WaveSigns(sessions=10_000, refused=99), None),
        (WaveSigns(sessions=10_000, refused=100), StopCode.REPORTS),
        (WaveSigns(("Certificate expired: mx.test",)), StopCode.PROBLEMS),
    ],
)
def test_a_wave_is_stopped_by_problems_and_refused_sessions(signs: WaveSigns, code: StopCode | None) -> None:
    stop = find_stop(signs)
    assert (stop.code if stop else None) == code
