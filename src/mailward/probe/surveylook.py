"""One domain of a survey: three questions at once, those that follow from their answers, then its row."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from mailward.core.check.facts import Facts, Found, MxHost, PolicyHost, ReportTarget, mx_names
from mailward.core.survey.listing import Entry
from mailward.core.survey.making import Exchange
from mailward.core.survey.parts import Parts, split_row
from mailward.core.survey.row import make_error_row, unasked_policy_host
from mailward.net import clock
from mailward.net.answers import Answer
from mailward.probe.mxsessions import MxSessions
from mailward.probe.observe import MAX_MX_HOSTS
from mailward.probe.surveydesk import Asker, Desk, make_lookup
from mailward.probe.surveysteps import Steps

_MX, _STS, _TLSRPT, _V4, _V6 = range(5)
_STS_VERSION = b"stsv"
_UNASKED = unasked_policy_host("mta-sts")
"""Of every domain without a record."""


class Look(Asker):
    __slots__ = (
        "_at",
        "_at_text",
        "_done",
        "_entry",
        "_exchange",
        "_hosts",
        "_is_shared",
        "_names",
        "_sessions",
        "_started",
        "_steps",
        "_targets",
    )

    kinds = ("MX", "TXT", "TXT", "A", "AAAA")
    prefixes = ("", "_mta-sts.", "_smtp._tls.", "mta-sts.", "mta-sts.")
    longest_prefix = max(map(len, prefixes))

    def __init__(
        self,
        desk: Desk,
        steps: Steps,
        sessions: MxSessions | None,
        entry: Entry,
        done: Callable[[Parts], None],
    ) -> None:
        super().__init__(desk, entry.domain)
        self._steps, self._sessions = steps, sessions
        self._entry = entry
        self._done: Callable[[Parts], None] | None = done
        self._started = clock.monotonic()
        self._at, self._at_text = desk.read_clock(self._started)
        self._exchange: Exchange | None = None
        self._names: list[str] = []
        self._hosts: dict[str, MxHost] = {}
        self._is_shared = True
        """Whether none of the MX hosts is the domain's own."""
        self._targets: tuple[ReportTarget, ...] = ()

    def begin(self) -> None:
        self.ask(_MX, _STS, _TLSRPT)

    def answer(self, step: int, answer: Answer[Any]) -> None:
        if self._done is None:
            return  # it has failed
        self.answers[step] = answer
        if step == _MX:
            self._find_hosts(answer)
        elif answer.records:
            if step == _STS and any(_STS_VERSION in text[:200].lower() for text in answer.records):
                self.ask(_V4, _V6)
            elif step == _TLSRPT:
                self._find_targets(answer)
        self._advance()

    def found_host(self, host: MxHost) -> None:
        if self._done is not None:
            self._hosts[host.name] = host
            self._advance()

    def fail(self, error: Exception) -> None:
        if self._done is None:
            return
        words = f"{type(error).__name__}: {error}"
        if isinstance(error, TimeoutError):
            words = f"not done within {self.desk.ways.domain_seconds:g} seconds"
        self._tell(split_row(make_error_row(self._entry, self._at, self._took_ms(), words)))

    def check_time(self) -> None:
        # with SMTP, hosts wait for their turn
        if self._sessions is None and clock.monotonic() >= self._started + self.desk.ways.domain_seconds:
            raise TimeoutError

    def _find_hosts(self, answer: Answer[str]) -> None:
        if not answer.chain:
            self._exchange = self.desk.exchanges.get((answer.records, answer.authenticated))
            if self._exchange is not None:
                return
        mx = make_lookup(self.name, "MX", answer)
        self._names = mx_names(self._entry.domain, mx)
        if mx.found is Found.NXDOMAIN:  # RFC 8020: then nothing is there
            v4, v6 = (make_lookup(self.name, kind, answer) for kind in ("A", "AAAA"))
            self._hosts = {name: MxHost(name, v4, v6) for name in self._names}
            self._is_shared = False
            return
        for name in self._names[:MAX_MX_HOSTS]:
            is_own = name.endswith(self.name)  # nobody else's: no need to remember it
            self._is_shared = self._is_shared and not is_own
            host = self.desk.find_host(name, self, is_own=is_own)
            if host is None:
                self.missing += 1
            else:
                self._hosts[name] = host

    def _find_targets(self, answer: Answer[bytes]) -> None:
        known = self._steps.known_targets(answer.records)
        if known is None:
            self.missing += 1
            self.desk.spawn(self, self._look_at_targets(answer))
        else:
            self._targets = known

    async def _look_at_targets(self, answer: Answer[bytes]) -> None:
        self._targets = await self._steps.look_at_targets(answer.records, self.check_time)
        if self._done is not None:
            self._advance()

    def _advance(self) -> None:
        self.missing -= 1
        if self.missing:
            return
        self.check_time()
        exchange = self._exchange or self._make_exchange()
        if self.answers[_V4] is None and self._sessions is None:
            self._write(exchange, _UNASKED)
        else:
            self.desk.spawn(self, self._go_on(exchange))

    def _make_exchange(self) -> Exchange:
        answer = self._known(_MX)
        mx = make_lookup(self.name, "MX", answer)
        hosts = [self._hosts[name] for name in self._names[:MAX_MX_HOSTS]]
        exchange = self.desk.make_exchange(mx, hosts, len(self._names[MAX_MX_HOSTS:]))
        if self._is_shared and answer.found and not answer.chain:
            self.desk.keep_exchange((answer.records, answer.authenticated), exchange)
        return exchange

    async def _go_on(self, exchange: Exchange) -> None:
        """With what takes more than questions."""
        if self._sessions is not None:
            hosts = [await self._sessions.add_to(host) for host in exchange.hosts]
            mx = make_lookup(self.name, "MX", self._known(_MX))
            exchange = self.desk.make_exchange(mx, hosts, exchange.skipped)
        policy_host = _UNASKED
        if self.answers[_V4] is not None:
            v4 = make_lookup(f"mta-sts.{self.name}", "A", self._known(_V4))
            v6 = make_lookup(f"mta-sts.{self.name}", "AAAA", self._known(_V6))
            policy_host = await self._steps.look_at_policy_host(self._entry.domain, v4, v6, self.check_time)
        self._write(exchange, policy_host)

    def _write(self, exchange: Exchange, policy_host: PolicyHost) -> None:
        others: Hashable = None
        if policy_host is _UNASKED:
            sts, tlsrpt = self._known(_STS), self._known(_TLSRPT)
            others = (
                *(sts.status, sts.authenticated, sts.records, sts.chain, sts.reason),
                *(tlsrpt.status, tlsrpt.authenticated, tlsrpt.records, tlsrpt.chain, tlsrpt.reason),
                tuple([(each.uri, each.takes_reports, each.reason) for each in self._targets]),
            )
        when = self._at_text, self._took_ms()
        facts = partial(self._make_facts, exchange, policy_host)
        self._tell(self.desk.rows.make(self._entry, when, exchange, others, facts))

    def _make_facts(self, exchange: Exchange, policy_host: PolicyHost) -> Facts:
        return Facts(
            self._entry.domain,
            self._at,
            self.desk.validates,
            make_lookup(self.name, "MX", self._known(_MX)),
            exchange.hosts,
            make_lookup(f"_mta-sts.{self.name}", "TXT", self._known(_STS)),
            (),
            policy_host,
            make_lookup(f"_smtp._tls.{self.name}", "TXT", self._known(_TLSRPT)),
            self._targets,
            has_smtp=self._sessions is not None,
            skipped_hosts=exchange.skipped,
        )

    def _known(self, step: int) -> Answer[Any]:
        answer = self.answers[step]
        if answer is None:
            raise LookupError(f"{self.kinds[step]} of {self.prefixes[step]}{self.name} was not asked for")
        return answer

    def _took_ms(self) -> int:
        return round(1000 * (clock.monotonic() - self._started))

    def _tell(self, parts: Parts) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(parts)
