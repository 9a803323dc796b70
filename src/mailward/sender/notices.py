"""The operator hears, once for each cause, of mail that waits because of us, of policies that cannot be refreshed, and
of TLS reports that nobody takes.

Every few minutes Postfix's queue is looked at (`postqueue -j`, as it is printed, line by line), the cache and the
deliveries of reports. What is new goes to the log, and to mail and webhook where they are configured; what could not
be told is told the next time.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path

from mailward.config import Settings
from mailward.core.names import Domain
from mailward.core.postfix.maillog import NO_HOST_LEFT
from mailward.core.postfix.nexthop import NextHop
from mailward.core.postfix.queue import MAX_LINE, parse_time, read_line
from mailward.core.sending.facts import Decision, Level
from mailward.core.sending.notice import Cause, Kind, body, make_override, subject
from mailward.net import clock
from mailward.net.guard import make_guard
from mailward.net.webpost import PostError, post_json
from mailward.sender.answers import Answers
from mailward.sender.cache import CacheError
from mailward.sender.census import failing_policies
from mailward.sender.exposition import Deferred
from mailward.sender.postconf import PostfixError, run_program
from mailward.sender.reportnotices import report_causes
from mailward.sender.reportrows import StoreError

logger = logging.getLogger("mailward.sender")

QUEUE_SECONDS = 120.0  # for postqueue to print everything
MAX_DOMAINS = 10_000  # with mail that waits because of TLS
MAX_DECIDED = 500  # of them, those with the most mail are decided about
FORGET_SECONDS = 86_400  # a cause that was away for so long is told again
REFRESH_AFTER_SECONDS = 2 * 86_400  # a policy is fetched anew every day: two misses are news
DECIDED_AT_ONCE = 32
_STRICT = (Level.SECURE, Level.DANE_ONLY)


@dataclass(slots=True)
class _Tally:
    messages: int = 0
    oldest_at: int = 0
    reason: str = ""


class Told:
    """What was told to whom, in a small file: a restart is no reason to tell it again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError):  # lost: everything is told once more
            found = json.loads(path.read_text())
            self._seen = {str(key): int(at) for key, at in found.items()}

    def is_new(self, channel: str, cause: Cause, now: int) -> bool:
        key = f"{channel} {cause.key}"
        if key not in self._seen:
            return True
        self._seen[key] = now
        return False

    def note(self, channel: str, causes: Sequence[Cause], now: int) -> None:
        self._seen |= {f"{channel} {cause.key}": now for cause in causes}

    def save(self, now: int) -> None:
        """Raises OSError."""
        self._seen = {key: at for key, at in self._seen.items() if now - at < FORGET_SECONDS}
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(self._seen))
        fresh.replace(self._path)


Channel = Callable[[Sequence[Cause]], Awaitable[None]]


class Notices:
    def __init__(self, settings: Settings, answers: Answers) -> None:
        self._settings = settings
        self._answers = answers
        self._told = Told(settings.sender_cache_path.with_name("sender-notices.json"))
        self._channels: dict[str, Channel] = {"log": self._log}
        if settings.sender.notice_mail:
            self._channels["mail"] = self._mail
        if settings.sender.notice_webhook:
            self._channels["webhook"] = self._webhook
        self._last_complaint = ""
        self.deferred: Mapping[str, Deferred] = {}
        """By row, as of the last look."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # whoever is to be told of trouble must not end by it
                logger.exception("notices-crashed")
            await asyncio.sleep(self._settings.sender.notice_minutes * 60)

    async def look(self) -> None:
        now = int(clock.now().timestamp())
        causes = [*await self._deferred(now), *await self._failing(now), *await self._reports(now)]
        for name, channel in self._channels.items():
            fresh = [cause for cause in causes if self._told.is_new(name, cause, now)]
            if not fresh:
                continue
            try:
                await channel(fresh)
            except (PostfixError, PostError) as error:
                logger.error("notice-not-sent", extra={"by": name, "reason": str(error)})
                continue
            self._told.note(name, fresh, now)
        try:
            self._told.save(now)
        except OSError as error:
            logger.error("notices-not-kept", extra={"reason": str(error)})

    async def _deferred(self, now: int) -> list[Cause]:
        sender = self._settings.sender
        if not sender.queue_command or sender.mode == "shadow":  # a shadow defers nothing
            return []
        try:
            tallies = await read_queue(sender.queue_command)
            self._last_complaint = ""
        except PostfixError as error:
            if str(error) != self._last_complaint:  # once, not at every look
                self._last_complaint = str(error)
                logger.warning("queue-not-seen", extra={"reason": str(error)})
            self.deferred = {}
            return []
        lifetime = await self._lifetime() if tallies else None
        ordered = sorted(tallies.items(), key=lambda item: -item[1].messages)[:MAX_DECIDED]
        causes: list[Cause] = []
        for start in range(0, len(ordered), DECIDED_AT_ONCE):
            chunk = ordered[start : start + DECIDED_AT_ONCE]
            decided = await asyncio.gather(*(self._answers.decide(NextHop(domain)) for domain, _ in chunk))
            for (domain, tally), (decision, _) in zip(chunk, decided, strict=True):
                if not self._makes_wait(decision, tally.reason):
                    continue  # it waits by the site's own rules, not by ours
                causes.append(_deferral(domain, tally, decision, now, lifetime))
        self.deferred = _by_row(causes)
        return causes

    def _makes_wait(self, decision: Decision, reason: str) -> bool:
        """Whether our answer can be why mail waits with this reason of Postfix's."""
        if decision.is_deferral:
            return True
        if reason == NO_HOST_LEFT:  # hosts are skipped by their names alone
            return bool(decision.match)
        if decision.level is Level.DANE:  # hosts with TLSA records are checked, and each is asked about
            return self._answers.site.default_level is not Level.DANE
        return decision.level in _STRICT

    async def _failing(self, now: int) -> list[Cause]:
        try:
            found = await asyncio.to_thread(
                failing_policies, self._settings.sender_cache_path, now, now - REFRESH_AFTER_SECONDS
            )
        except CacheError as error:
            logger.error("cache-unreadable", extra={"reason": str(error)})
            return []
        return [
            Cause(Kind.REFRESH, domain, "", failure.reason, lifetime_seconds=ends_at - now)
            for domain, failure, ends_at in found
        ]

    async def _reports(self, now: int) -> list[Cause]:
        if not self._settings.tlsrpt.contact:
            return []
        try:
            return await asyncio.to_thread(report_causes, self._settings.tlsrpt_reports_path, now)
        except StoreError as error:
            logger.error("reports-unreadable", extra={"reason": str(error)})
            return []

    async def _lifetime(self) -> int | None:
        command = self._settings.sender.queue_command
        instance = command[command.index("-c") :][:2] if "-c" in command else ()
        try:
            output = await run_program("postconf", *instance, "-h", "maximal_queue_lifetime")
        except PostfixError:
            return None
        return parse_time(output.decode("ascii", "replace"))

    async def _log(self, causes: Sequence[Cause]) -> None:
        for cause in causes:
            facts: dict[str, object] = {"domain": cause.domain, "reason": cause.reason}
            if cause.kind is Kind.DEFERRED:
                facts |= {
                    "row": cause.row,
                    "messages": cause.messages,
                    "oldest_seconds": cause.oldest_seconds,
                    "lifetime_seconds": cause.lifetime_seconds or "-",
                    "override": make_override(cause, clock.today()),
                }
            elif cause.rua:
                facts["rua"] = cause.rua
            else:
                facts["ends_in_seconds"] = cause.lifetime_seconds
            logger.warning(cause.kind.value, extra=facts)

    async def _mail(self, causes: Sequence[Cause]) -> None:
        sender = self._settings.sender
        message = EmailMessage()
        message["Subject"] = subject(causes)
        message["From"] = self._settings.relay.sender
        message["To"] = ", ".join(sender.notice_mail)
        message["Date"] = format_datetime(clock.now())
        message["Message-ID"] = make_msgid(domain=self._settings.relay.sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"
        text = body(causes, clock.today(), sender.overrides)
        # 7bit where it can be: the override is to be copied, also from a mail that is read as it came
        message.set_content(text, cte="7bit" if text.isascii() else "quoted-printable")
        await run_program(*sender.notice_mail_command, *sender.notice_mail, stdin=message.as_bytes())

    async def _webhook(self, causes: Sequence[Cause]) -> None:
        document = {
            "text": f"{subject(causes)}\n\n{body(causes, clock.today(), self._settings.sender.overrides)}",
            "causes": [asdict(cause) | {"override": make_override(cause, clock.today())} for cause in causes],
        }
        await post_json(
            self._settings.sender.notice_webhook,
            json.dumps(document).encode(),
            resolver=self._answers.knowledge.discovery.resolver,
            guard=make_guard(self._settings.dns),
        )


async def read_queue(command: Sequence[str]) -> dict[Domain, _Tally]:
    """Mail that waits because of TLS, by domain. Raises PostfixError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE,
        )
    except OSError as error:
        raise PostfixError(f"{command[0]}: {error.strerror or error}") from error
    found: dict[Domain, _Tally] = {}
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    complaint = asyncio.create_task(_read_end(process.stderr))
    try:
        async with asyncio.timeout(QUEUE_SECONDS):
            async for line in process.stdout:
                _tally(line, found)
            await process.wait()
    except (TimeoutError, ValueError) as error:  # ValueError: a line above the limit
        raise PostfixError(f"{command[0]}: {error or 'it takes too long'}") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        said = ""
        with contextlib.suppress(TimeoutError):  # a child of its may hold the pipe
            said = await asyncio.wait_for(complaint, 1.0)
    if process.returncode:
        raise PostfixError(f"{' '.join(command)}: {said or f'exit status {process.returncode}'}")
    return found


async def _read_end(stream: asyncio.StreamReader) -> str:
    """The last of what a program complains of, such as that the mail system is down."""
    end = b""
    while data := await stream.read(4096):
        end = (end + data)[-300:]
    return "".join(char for char in end.decode("utf-8", "replace").strip() if char.isprintable())


def _tally(line: bytes, found: dict[Domain, _Tally]) -> None:
    for waiting in read_line(line):
        tally = found.get(waiting.domain)
        if tally is None:
            if len(found) >= MAX_DOMAINS:
                continue
            tally = found[waiting.domain] = _Tally(oldest_at=waiting.arrived_at)
        tally.messages += 1
        tally.oldest_at = min(tally.oldest_at, waiting.arrived_at)
        tally.reason = waiting.reason


def _deferral(domain: Domain, tally: _Tally, decision: Decision, now: int, lifetime: int | None) -> Cause:
    reason = decision.reason if decision.is_deferral else tally.reason
    if reason == NO_HOST_LEFT:
        reason += ": no MX host is one that the policy names"
    age = max(now - tally.oldest_at, 0)
    return Cause(Kind.DEFERRED, domain, decision.row, reason, decision.reason, tally.messages, age, lifetime)


def _by_row(causes: Sequence[Cause]) -> dict[str, Deferred]:
    found: dict[str, Deferred] = {}
    for cause in causes:
        before = found.get(cause.row, Deferred(0, 0, 0))
        found[cause.row] = Deferred(
            before.domains + 1,
            before.messages + cause.messages,
            max(before.oldest_seconds, cause.oldest_seconds),
        )
    return found
