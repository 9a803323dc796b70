import threading
from datetime import UTC, datetime, timedelta

from mailward.net import clock
from mailward.store.ids import first_id_at, new_id


def test_ids_rise_even_within_a_millisecond_and_when_the_clock_goes_back() -> None:
    with clock.frozen(datetime(2027, 1, 1, tzinfo=UTC)):
        ids = [new_id() for _ in range(10_000)]
    with clock.frozen(datetime(2026, 1, 1, tzinfo=UTC)):
        ids.append(new_id())
    assert ids == sorted(set(ids))


def test_ids_fit_a_signed_64_bit_column_until_2094() -> None:
    with clock.frozen(datetime(2094, 1, 1, tzinfo=UTC)):
        assert 0 < new_id() < 2**63


def test_threads_never_get_the_same_id() -> None:
    ids: list[int] = []
    threads = [threading.Thread(target=lambda: ids.extend(new_id() for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 8000


def test_ids_tell_what_was_made_before_and_after_a_moment() -> None:
    moment = datetime(2094, 6, 1, tzinfo=UTC)  # later than in any other test: ids never fall
    with clock.frozen(moment):
        assert first_id_at(moment) <= new_id() < first_id_at(moment + timedelta(milliseconds=1))
