"""`mailward sender reporter`: the day's reports are made and go out. A process of its own beside the policy server, so
that neither holds up the other; killed at any moment, it goes on where it was.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import ssl
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

from mailward.config import Settings
from mailward.core.tlsrpt.daily import Reporter
from mailward.core.tlsrpt.errors import Unwritable
from mailward.net import clock
from mailward.net.guard import make_guard
from mailward.net.ownership import give_away
from mailward.net.resolver import make_resolver
from mailward.sender.clockwatch import ClockWatch
from mailward.sender.counts import Counts, CountsError
from mailward.sender.dkimkeys import KeyFileError, load_keys
from mailward.sender.letters import ContactUnusable, Letters, make_reporter
from mailward.sender.makeday import due_parts, make_day
from mailward.sender.pace import MAX_WAIT, Pace, hourly_limit, retry_seconds
from mailward.sender.posting import MailPost, Outcome, Verdict, make_context, make_mail_post, post_report
from mailward.sender.reportrows import Delivery, State, StoreError
from mailward.sender.reportstore import ReportStore
from mailward.sender.signalnumbers import Number, SignalNumbers
from mailward.sender.workers import STOPS

logger = logging.getLogger("mailward.sender")

LOOK_SECONDS = 20.0
MAIL_BATCH, WEB_BATCH = 200, 500
HOSTS_AT_ONCE = 16
TURN_SECONDS = 60.0
"""Of one host; what is begun then may end."""
_MAX_HOSTS = 10_000
_NOT_TRIED_SECONDS = 300
_MAX_NOT_TRIED = 3
_CUT_OFF = "cut off while it was sent"


class AnotherReporter(Exception):
    """Another process makes these reports; the text names the file."""

    code = "another-reporter"


def run_reporter(settings: Settings, numbers: SignalNumbers) -> int:
    """In a process of its own, until SIGTERM or SIGINT; its exit status."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asyncio.run(run(settings, numbers=numbers))
    except (ContactUnusable, KeyFileError, AnotherReporter, CountsError, StoreError) as error:
        logger.error("reporter-not-started", extra={"reason": str(error)})
        return 2
    return 0


async def run(settings: Settings, *, once: bool = False, numbers: SignalNumbers | None = None) -> None:
    """Until SIGTERM or SIGINT; `once`: until nothing is due. `numbers`: what metrics show.

    Raises ContactUnusable, KeyFileError, AnotherReporter, CountsError or StoreError where it cannot start.
    """
    reporter = make_reporter(settings)
    letters = Letters(settings, reporter, load_keys(settings.data_path, settings.tlsrpt.dkim_selectors))
    with _locked(settings.tlsrpt_reports_path):
        store = ReportStore(settings.tlsrpt_reports_path)
        counts = Counts(settings.tlsrpt_counts_path)
        try:
            daily = Daily(settings, reporter, letters, store, counts, numbers or SignalNumbers())
            daily.start()
            await (daily.run_once() if once else _until_told(daily))
        finally:
            counts.close()
            store.close()


async def _until_told(daily: "Daily") -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOPS:
        loop.add_signal_handler(number, stopping.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)  # which a companion begins with kept back
    tasks = [asyncio.create_task(_forever(step, daily.made)) for step in (daily.make, daily.mail, daily.post)]
    try:
        await stopping.wait()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await daily.stop()
        logger.info("reporter-stopped")


async def _forever(step: Callable[[], Awaitable[bool]], wake: asyncio.Event) -> None:
    while True:
        try:
            is_busy = await step()
        except (
            StoreError,
            CountsError,
        ) as error:  # a full disk: nothing is lost, and all goes on when there is room
            logger.error("reports-stalled", extra={"reason": str(error)})
            is_busy = False
        except Exception:  # the reports of tomorrow must not end by one of today
            logger.exception("reporter-crashed")
            is_busy = False
        if is_busy:
            await asyncio.sleep(0)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await wake.wait()


@dataclass(slots=True)
class Daily:
    settings: Settings
    reporter: Reporter
    letters: Letters
    store: ReportStore
    counts: Counts
    numbers: SignalNumbers = field(default_factory=SignalNumbers)
    made: asyncio.Event = field(default_factory=asyncio.Event)
    """Set for a moment when there is something new to deliver."""
    pace: Pace = field(default_factory=lambda: Pace(clock.since_boot()))
    _unsaved: list[Callable[[], None]] = field(default_factory=list)
    """What the other side has said and the disk had no room for."""
    _saving: threading.Lock = field(default_factory=threading.Lock)
    """Of `_unsaved`: what is given up is in a thread of its own."""
    _mail_taken_at: int = 0
    """When our mail server took a report last."""
    _in_flight: set[int] = field(default_factory=set)
    """Numbers of the deliveries that are being sent."""
    _round: deque[str] = field(default_factory=deque)
    """Hosts that have something due and wait for their turn."""
    _turns: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """Host -> what is being posted there."""
    _context: ssl.SSLContext | None = None
    _watch: ClockWatch | None = None

    def start(self) -> None:
        cut_off = self.store.recover(_now())
        logger.info("reporter-started", extra={"submitter": self.reporter.submitter, "cut_off": cut_off})

    async def run_once(self) -> None:
        await self.make()
        try:
            while await self.mail() or await self.post():
                pass
        finally:
            await self.stop()

    # Making

    async def make(self) -> bool:
        """The reports of days that have ended. False: there is nothing more to do now."""
        tlsrpt, now = self.settings.tlsrpt, clock.now()
        if self._watch is None:
            self._watch = ClockWatch(self.store, tlsrpt.make_after_minutes * 60)
        if not self._watch.is_settled():
            return False
        self.store.pull_in(_now(), int(MAX_WAIT.total_seconds()))
        parts = due_parts(self.counts, self.store, now, timedelta(minutes=tlsrpt.make_after_minutes))
        for part in parts:
            started = clock.monotonic()
            made = await asyncio.to_thread(
                make_day,
                self.counts,
                self.store,
                part,
                self.reporter,
                now=_now(),
                spread_seconds=tlsrpt.spread_minutes * 60,
            )
            facts = {
                "day": part.day,
                "part": part.number,
                "reports": made,
                "seconds": f"{clock.monotonic() - started:.1f}",
            }
            logger.info("reports-made", extra=facts)
            self.numbers.add(Number.REPORTS_MADE, made)
        if parts:
            self.made.set()  # who waits wakes up, who comes later waits
            self.made.clear()
        await asyncio.to_thread(self._forget)
        self.numbers.set(Number.REPORTS_WAITING, self.store.waiting())
        self.numbers.set(Number.RUAS_SUPPRESSED, len(self.store.suppressions(_now())))
        return False

    def _forget(self) -> None:
        today, complete, tlsrpt = clock.today(), self.store.complete_parts(), self.settings.tlsrpt
        for delivery in self.store.waiting_since(_now() - tlsrpt.give_up_days * 86_400):
            self._fail(delivery, f"given up after {tlsrpt.give_up_days} days; before: {delivery.outcome}")
        if gone := self.store.forget(today - timedelta(days=tlsrpt.keep_days), _now()):
            logger.info("reports-forgotten", extra={"deliveries": gone})
        parts = self.counts.parts()
        kept = {part.day for part in parts if (part.day, part.number) not in complete}
        first = min([*kept, today - timedelta(days=tlsrpt.keep_counts_days - 1)])
        if gone_days := [part.day for part in parts if part.day < first]:
            self.counts.forget(max(gone_days))  # and what is before

    # Delivering

    async def mail(self) -> bool:
        """As many mails as may go now. False: there is nothing more to do now."""
        self._catch_up()
        tlsrpt = self.settings.tlsrpt
        limit = hourly_limit(
            _now(), self.store.first_made_at(), tlsrpt.warm_up_mails_per_hour, tlsrpt.mails_per_hour
        )
        available = self.pace.available(clock.since_boot(), limit)
        due = self.store.due(_now(), min(available, MAIL_BATCH))
        not_tried = 0
        async with make_mail_post(tlsrpt) as post:
            for delivery in due:
                if (raw := self._letter(delivery)) is None or not self._mark(delivery):
                    continue
                self.pace.take()
                outcome = await self._finish(delivery, self._send(post, delivery, raw))
                not_tried += outcome.verdict is Verdict.NOT_TRIED
                if not_tried >= _MAX_NOT_TRIED:
                    return False
        return bool(due)

    async def _send(self, post: MailPost, delivery: Delivery, raw: bytes) -> Outcome:
        outcome = await post.send(self.letters.envelope_sender(delivery), delivery.address, raw)
        if outcome.verdict is Verdict.ACCEPTED:
            self._mail_taken_at = _now()
        if outcome.is_unclear and 0 < delivery.tried_at < self._mail_taken_at:
            # it has taken another's mail since the last attempt at this one: so it works, and an attempt counts
            return outcome._replace(verdict=Verdict.TEMPORARY)
        return outcome

    async def post(self) -> bool:
        """What is due by HTTPS: some hosts beside each other, what goes to one of them one after another. Returns when
        one of them has had its turn, or after a while; the others go on. False: there is nothing more to do now.
        """
        self._catch_up()
        self._start_turns()
        if not self._turns:
            return False
        await asyncio.wait(self._turns.values(), timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        self._end_turns()
        return True

    async def stop(self) -> None:
        """Nothing is posted after that; what is cut off waits."""
        turns = [*self._turns.values()]
        self._turns.clear()
        for turn in turns:
            turn.cancel()
        await asyncio.gather(*turns, return_exceptions=True)

    def _start_turns(self) -> None:
        """Each host with something due has one turn before any has a second, so that a slow one holds up no other."""
        free = HOSTS_AT_ONCE - len(self._turns)
        if free and not self._round:
            hosts = [host for host in self.store.due_hosts(_now(), _MAX_HOSTS) if host not in self._turns]
            if hosts:
                sender, takes_any = self.settings.sender, self.settings.tlsrpt.https_certificate == "any"
                self._context = make_context(sender.ca_file, any_certificate=takes_any)
            self._round.extend(hosts)
        for _ in range(min(free, len(self._round))):
            host = self._round.popleft()
            self._turns[host] = asyncio.create_task(self._post_to_host(host, self._context))

    def _end_turns(self) -> None:
        ended = {host: turn for host, turn in self._turns.items() if turn.done()}
        for host in ended:
            del self._turns[host]
        if errors := [error for turn in ended.values() if (error := turn.exception()) is not None]:
            raise errors[0]

    async def _post_to_host(self, host: str, context: ssl.SSLContext | None) -> None:
        resolver, guard = make_resolver(self.settings.dns), make_guard(self.settings.dns)
        ends = clock.monotonic() + TURN_SECONDS
        deliveries = self.store.due(_now(), WEB_BATCH, host=host)
        for at, delivery in enumerate(deliveries):
            if at and clock.monotonic() >= ends:
                return
            content = self.store.content(delivery)
            if content is None or not self._mark(delivery):
                continue
            sending = post_report(delivery, content.gzipped, resolver=resolver, guard=guard, context=context)
            outcome = await self._finish(delivery, sending)
            if outcome.verdict is Verdict.TEMPORARY:
                # the same host would say the same, or nothing, to the others
                self._put_off(deliveries[at + 1 :], outcome)
                return

    def _put_off(self, deliveries: Sequence[Delivery], outcome: Outcome) -> None:
        """The host was asked once for all of them; who asks for patience, though, may take the next."""
        counts = not outcome.retry_after
        text = f"not tried: the host said to another report that {outcome.text}"
        for delivery in deliveries:
            wait = retry_seconds(delivery.attempts + counts, outcome.retry_after)
            if wait is None:
                self._fail(delivery, text)
            else:
                self.store.put_off(delivery, _now() + max(wait, _NOT_TRIED_SECONDS), text, counts=counts)

    def _letter(self, delivery: Delivery) -> bytes | None:
        content = self.store.content(delivery)
        try:
            if content is None:
                raise Unwritable("report", "it is forgotten")
            return self.letters.write(delivery, content, clock.now())
        except Unwritable as error:
            self._fail(delivery, f"cannot be written: {error}")
            return None

    def _mark(self, delivery: Delivery) -> bool:
        return self.store.mark(delivery, _now())

    async def _finish(self, delivery: Delivery, sending: Awaitable[Outcome]) -> Outcome:
        """What is marked is sent, and what becomes of it is kept."""
        self._in_flight.add(delivery.number)
        try:
            outcome = await sending
            self._settle(delivery, outcome)
        except asyncio.CancelledError:
            with contextlib.suppress(StoreError):  # the next start finds it
                self._keep(partial(self.store.postpone, delivery, _now(), _CUT_OFF, is_repeat=True))
            raise
        finally:
            self._in_flight.discard(delivery.number)
        return outcome

    def _catch_up(self) -> None:
        """Nothing stays begun that nobody is sending: what an error of ours has cut off is tried again like what had
        no answer.
        """
        self._save()
        for delivery in self.store.sending():
            if delivery.number not in self._in_flight:
                outcome = Outcome(Verdict.TEMPORARY, _CUT_OFF, maybe_taken=True)
                self._settle(delivery._replace(attempts=delivery.attempts - 1), outcome)

    def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        facts = {"domain": delivery.domain, "day": delivery.day, "rua": delivery.rua, "reason": outcome.text}
        attempts = delivery.attempts + 1
        if outcome.verdict is Verdict.ACCEPTED:
            self._keep(partial(self.store.finish, delivery, State.DELIVERED, outcome.text))
            self.numbers.add(Number.REPORTS_DELIVERED, 1)
            logger.info("report-delivered", extra=facts | {"attempts": attempts})
            return
        if outcome.verdict is Verdict.NOT_TRIED:
            self._keep(
                partial(
                    self.store.postpone, delivery, _now() + _NOT_TRIED_SECONDS, outcome.text, counts=False
                )
            )
            logger.error("report-mail-not-taken", extra=facts)
            return
        wait = None
        if outcome.verdict is Verdict.TEMPORARY:
            wait = retry_seconds(attempts, outcome.retry_after)
        if wait is None:
            self._fail(delivery, outcome.text)
            return
        self._keep(
            partial(self.store.postpone, delivery, _now() + wait, outcome.text, is_repeat=outcome.maybe_taken)
        )
        self.numbers.add(Number.REPORTS_POSTPONED, 1)
        logger.info("report-postponed", extra=facts | {"attempts": attempts, "seconds": wait})

    def _fail(self, delivery: Delivery, reason: str) -> None:
        self._keep(partial(self.store.finish, delivery, State.FAILED, reason))
        facts = {"domain": delivery.domain, "day": delivery.day, "rua": delivery.rua, "reason": reason}
        self.numbers.add(Number.REPORTS_FAILED, 1)
        logger.warning("report-failed", extra=facts)
        tlsrpt, now = self.settings.tlsrpt, _now()
        until = now + tlsrpt.suppress_days * 86_400
        if self.store.suppress_if_bad(delivery, tlsrpt.suppress_after_days, until, now):
            logger.warning("rua-suppressed", extra={"rua": delivery.rua, "days": tlsrpt.suppress_days})

    def _keep(self, commit: Callable[[], None]) -> None:
        self._unsaved.append(commit)
        self._save()

    def _save(self) -> None:
        """What could not be committed is, before anything else is sent: it must not be sent twice for want of room."""
        with self._saving:
            while self._unsaved:
                self._unsaved[0]()
                self._unsaved.pop(0)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Raises AnotherReporter, StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_away(number, path.parent)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(number)
        raise AnotherReporter(f"another process makes the reports of {path}") from error
    try:
        yield
    finally:
        os.close(number)


def _now() -> int:
    return int(clock.now().timestamp())
