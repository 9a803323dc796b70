"""What a sender sees of a domain's MTA-STS right now: gathered once, shown as text or JSON by `mailward
policy show`.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from mailward.core.mtasts import record as sts
from mailward.core.mtasts.policy import Level, Mode, Policy, Problem
from mailward.core.names import Domain, matches_mx
from mailward.core.tlsrpt import record as tlsrpt
from mailward.core.txt import RecordError
from mailward.net.fetch import FetchError, FetchResult, fetch_policy
from mailward.net.guard import Guard
from mailward.net.resolver import Answer, Resolver, Status


@dataclass(frozen=True, slots=True)
class TxtFacts:
    name: str
    texts: tuple[str, ...]
    chain: tuple[str, ...]
    authenticated: bool
    error: str
    """Empty: one valid record."""
    value: str
    """The policy id, or the report targets."""


@dataclass(frozen=True, slots=True)
class MxFacts:
    host: str
    pattern: str | None
    """The first pattern that covers it."""


@dataclass(frozen=True, slots=True)
class LivePolicy:
    domain: Domain
    record: TxtFacts
    fetched: FetchResult | FetchError
    mx: tuple[MxFacts, ...]
    mx_error: str
    reports: TxtFacts

    @property
    def policy(self) -> Policy | None:
        return self.fetched.policy if isinstance(self.fetched, FetchResult) else None

    @property
    def usable(self) -> bool:
        """Whether a sender that meets the domain for the first time applies the policy."""
        return self.policy is not None and not self.record.error

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.fetched.problems

    @property
    def is_clean(self) -> bool:
        uncovered = (
            self.policy is not None
            and self.policy.mode is not Mode.NONE
            and any(mx.pattern is None for mx in self.mx)
        )
        warned = any(problem.level is not Level.NOTE for problem in self.problems)
        return self.usable and not uncovered and not warned and not self.mx_error and not self.reports.error


class NoDns(Exception):
    """Nothing could be asked: there is nothing to show."""


async def look_up(
    domain: Domain, *, resolver: Resolver, guard: Guard, ca_file: Path | None, port: int
) -> LivePolicy:
    """Raises NoDns when no question gets an answer."""
    record, reports, mx, fetched = await asyncio.gather(
        resolver.txt(f"_mta-sts.{domain}"),
        resolver.txt(f"_smtp._tls.{domain}"),
        resolver.mx(domain),
        _fetch(domain, resolver, guard, ca_file, port),
    )
    if all(answer.status is Status.FAILED for answer in (record, reports, mx)):
        raise NoDns(f"DNS gives no answer about {domain}: {mx.reason}")
    patterns = fetched.policy.mx if isinstance(fetched, FetchResult) else ()
    hosts = tuple(MxFacts(host, _covering(patterns, host)) for host in mx.records)
    mx_error = "" if mx.found else mx.reason or "no MX record"
    return LivePolicy(
        domain,
        _read_sts(f"_mta-sts.{domain}", record),
        fetched,
        hosts,
        mx_error,
        _read_tlsrpt(domain, reports),
    )


async def _fetch(
    domain: Domain, resolver: Resolver, guard: Guard, ca_file: Path | None, port: int
) -> FetchResult | FetchError:
    try:
        return await fetch_policy(domain, resolver=resolver, guard=guard, ca_file=ca_file, port=port)
    except FetchError as error:
        return error


def _covering(patterns: tuple[str, ...], host: str) -> str | None:
    return next((pattern for pattern in patterns if matches_mx(pattern, host)), None)


def _read_sts(name: str, answer: Answer[bytes]) -> TxtFacts:
    try:
        return _facts(name, answer, "", sts.parse_record(answer.records).policy_id)
    except RecordError as error:
        return _facts(name, answer, _absence(answer) or str(error), "")


def _read_tlsrpt(domain: Domain, answer: Answer[bytes]) -> TxtFacts:
    name = f"_smtp._tls.{domain}"
    try:
        targets = tlsrpt.parse_record(answer.records).targets
        return _facts(name, answer, "", ", ".join(target.uri for target in targets))
    except RecordError as error:
        return _facts(name, answer, _absence(answer) or str(error), "")


def _facts(name: str, answer: Answer[bytes], error: str, value: str) -> TxtFacts:
    texts = tuple(txt[:500].decode("ascii", "backslashreplace") for txt in answer.records[:10])
    return TxtFacts(name, texts, answer.chain, answer.authenticated, error, value)


def _absence(answer: Answer[bytes]) -> str:
    if answer.status is Status.FAILED:
        return f"DNS could not be asked: {answer.reason}"
    if not answer.found:
        return (
            f"the CNAME leads to {answer.chain[-1]}, which has no TXT record"
            if answer.chain
            else "no TXT record"
        )
    return ""
