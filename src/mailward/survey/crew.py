"""The worker processes of a survey, and what each of them has under way."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from mailward.core.survey.parts import split_row
from mailward.net import clock
from mailward.probe.surveyways import SurveyWays
from mailward.survey.journal import Journal, encode_frame
from mailward.survey.processes import prepare_processes, work
from mailward.survey.tasks import Task, encode_tasks

BATCH = 100  # names in a message
SYNC_SECONDS = 0.5
ISOLATED = 10
MAX_DEATHS = 5  # of workers, in a row, without a finished row between them
DEATHS_OF_ONE = 2  # under a domain that two workers died with, a third one does not begin


class CrewDied(Exception):
    """Workers end as soon as they are begun; the text says how."""


class _Member:
    def __init__(self, ways: SurveyWays) -> None:
        context = prepare_processes()
        ours, theirs = context.Pipe()
        self.connection: Connection[bytes, bytes] = ours
        self.process: BaseProcess = context.Process(target=work, args=(theirs, ways), daemon=True)
        self.process.start()
        theirs.close()
        self.under_way: dict[int, Task] = {}

    def give(self, tasks: list[Task]) -> None:
        self.under_way.update((task[0], task) for task in tasks)
        self.connection.send_bytes(encode_tasks(tasks))

    def dismiss(self) -> None:
        """It ends as soon as it sees that nobody is there any more."""
        self.connection.close()

    def end(self) -> None:
        self.dismiss()
        self.process.join(timeout=2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class Crew:
    def __init__(self, ways: SurveyWays, workers: int, journal: Journal) -> None:
        self._ways, self._journal = ways, journal
        self._members = [_Member(ways) for _ in range(workers)]
        self._again: deque[Task] = deque()
        """What a worker had under way that died."""
        self._deaths: dict[int, int] = {}
        self._given_up: list[Task] = []
        """Without a row yet: that it was the domain's fault is believed once a worker has done better."""
        self._deaths_in_a_row = 0
        self._has_worked = False
        self._left = 0
        """Of the tasks, those that nobody was given so far."""

    def run(self, tasks: Iterator[Task], count: int, report: Callable[[int], None]) -> None:
        """Until all have a row in the journal; `count`: how many tasks there are; `report` is told how many more are
        done, some times a second. Raises CrewDied, OSError.
        """
        self._left = count
        synced_at = clock.monotonic()
        try:
            while self._fill(tasks):
                finished = sum(self._receive(member) for member in self._readable())
                if clock.monotonic() - synced_at >= SYNC_SECONDS:
                    self._journal.sync()
                    synced_at = clock.monotonic()
                report(finished)
            if self._given_up and not self._has_worked:
                raise CrewDied("no worker has finished any domain")
            report(self._write_given_up())
        finally:
            for member in self._members:
                member.dismiss()
            self._journal.sync()
            for member in self._members:
                member.end()

    def _fill(self, tasks: Iterator[Task]) -> bool:
        """Whether anything is under way. What a worker died with is given out alone, and little of it at a time: so
        few others are given up with a domain that kills.
        """
        for member in self._members:
            if self._again:
                if not member.under_way:
                    self._give(
                        member, [self._again.popleft() for _ in range(min(ISOLATED, len(self._again)))]
                    )
                continue
            while len(member.under_way) < self._ahead():
                batch = list(islice(tasks, BATCH))
                self._left -= len(batch)
                if not batch or not self._give(member, batch):
                    break
        return any(member.under_way for member in self._members)

    def _ahead(self) -> int:
        """How many one member may have: those that it looks at, as many that wait there, and those whose rows are not
        here yet. Towards the end fewer, so that none has much left when another has nothing.
        """
        concurrency = self._ways.concurrency
        return max(concurrency, min(4 * concurrency, self._left // (2 * len(self._members))))

    def _give(self, member: _Member, batch: list[Task]) -> bool:
        try:
            member.give(batch)
        except OSError:
            return False  # it has died: that is read from its connection
        return True

    def _readable(self) -> list[_Member]:
        ready = wait([member.connection for member in self._members], timeout=0.25)
        return [member for member in self._members if member.connection in ready]

    def _receive(self, member: _Member) -> int:
        try:
            frame = member.connection.recv_bytes()
        except (EOFError, OSError):
            self._replace(member)
            return 0
        places = self._journal.append(frame)
        for place in places:
            del member.under_way[place]
        self._deaths_in_a_row, self._has_worked = 0, True
        return len(places) + self._write_given_up()

    def _replace(self, member: _Member) -> None:
        """Raises CrewDied."""
        member.end()
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > MAX_DEATHS:
            raise CrewDied(f"workers end at once, the last with exit status {member.process.exitcode}")
        for place, task in member.under_way.items():
            self._deaths[place] = self._deaths.get(place, 0) + 1
            waiting = self._given_up if self._deaths[place] >= DEATHS_OF_ONE else self._again
            waiting.append(task)
        self._members[self._members.index(member)] = _Member(self._ways)

    def _write_given_up(self) -> int:
        if not self._given_up:
            return 0
        # with all of the rules, which nothing else here needs
        from mailward.core.survey.row import make_error_row

        error = f"{DEATHS_OF_ONE} worker processes died while this was one of the domains under way"
        rows = [split_row(make_error_row(entry, clock.now(), 0, error)) for _, entry in self._given_up]
        places = self._journal.append(encode_frame([place for place, _ in self._given_up], rows))
        self._given_up = []
        return len(places)
