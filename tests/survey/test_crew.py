"""How much is held at a time does not depend on how much there is; nobody's death ends the survey."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.survey.lab import make_dns

from mailward.core.names import Domain
from mailward.core.survey.columns import AT
from mailward.core.survey.listing import Entry
from mailward.core.survey.parts import Parts
from mailward.net import clock
from mailward.probe.survey import SurveyWays
from mailward.survey import crew as crews
from mailward.survey.crew import BATCH, Crew, CrewDied
from mailward.survey.journal import Journal, read_frames
from mailward.survey.tasks import Task

COUNT = 600
SLOW_SECONDS = 60.0


def tasks(count: int) -> Iterator[Task]:
    return ((place, Entry(place + 1, None, Domain(f"d{place:05}.test"))) for place in range(count))


def test_no_more_is_taken_from_the_list_than_is_under_way(tmp_path: Path) -> None:
    taken = most = 0
    concurrency, workers = 20, 2

    def counted() -> Iterator[Task]:
        nonlocal taken, most
        for task in tasks(COUNT):
            taken += 1
            most = max(most, taken - journal.done.count)
            yield task

    dns = make_dns(COUNT)
    with dns.threaded(), Journal(tmp_path, COUNT) as journal:
        ways = SurveyWays((dns.address,), concurrency=concurrency)
        Crew(ways, workers, journal).run(counted(), COUNT, lambda _: None)
        assert journal.done.count == COUNT
    # what is under way, as much that waits, rows that have not come back, and a batch that was cut off there
    assert most <= workers * (4 * concurrency + BATCH)


def test_rows_do_not_wait_for_the_timer_where_a_worker_has_little_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "work", work_with_a_slow_timer)
    dns = make_dns(COUNT)
    started = clock.monotonic()
    with dns.threaded(), Journal(tmp_path, COUNT) as journal:
        Crew(SurveyWays((dns.address,), concurrency=20), 2, journal).run(tasks(COUNT), COUNT, lambda _: None)
        assert journal.done.count == COUNT
    assert clock.monotonic() - started < SLOW_SECONDS


def test_a_domain_that_workers_die_with_has_a_row_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "work", die_with_a_certain_name)
    monkeypatch.setattr(crews, "ISOLATED", 1)
    dns = make_dns(5)
    with dns.threaded(), Journal(tmp_path, 5) as journal:
        Crew(SurveyWays((dns.address,), concurrency=1), 1, journal).run(tasks(5), 5, lambda _: None)
    rows = [row for frame, _ in read_frames(tmp_path) for row in frame.rows()]
    errors = {row[AT["domain"]]: row[AT["error"]] for row in rows}
    assert "worker processes died" in str(errors.pop("d00003.test"))
    assert errors == {f"d{at:05}.test": None for at in (0, 1, 2, 4)}


def test_workers_that_never_work_end_the_survey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "work", die)
    with Journal(tmp_path, COUNT) as journal, pytest.raises(CrewDied, match="exit status 3"):
        Crew(SurveyWays(("127.0.0.1:1",)), 1, journal).run(tasks(COUNT), COUNT, lambda _: None)


def work_with_a_slow_timer(connection: object, ways: SurveyWays) -> None:
    from mailward.survey import worker

    worker.FRAME_SECONDS = SLOW_SECONDS
    worker.work(connection, ways)  # type: ignore[arg-type]


def die(*_: object) -> None:
    raise SystemExit(3)


def die_with_a_certain_name(connection: object, ways: SurveyWays) -> None:
    from mailward.probe import survey
    from mailward.survey.worker import work

    begin = survey.Surveyor.begin

    def deadly(self: survey.Surveyor, entry: Entry, done: Callable[[Parts], None]) -> None:
        if entry.domain == "d00003.test":
            os._exit(9)
        begin(self, entry, done)

    survey.Surveyor.begin = deadly  # type: ignore[method-assign]
    work(connection, ways)  # type: ignore[arg-type]
