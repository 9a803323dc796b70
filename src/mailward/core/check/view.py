"""The facts, read once: what senders make of record and policy, of each MX host, and of each session with it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache

from mailward.core.certificate import Certificate, read_chain
from mailward.core.check.facts import UNOBSERVED, Facts, Lookup, MxHost, Session, Tls
from mailward.core.dane.judge import HostState, Outcome
from mailward.core.dane.tlsa import Tlsa, TlsaInvalid, owner_names, parse_tlsa
from mailward.core.dane.verify import Verdict, verify
from mailward.core.explain.explanation import Severity
from mailward.core.mtasts.policy import Mode, Policy, Problem, lint_policy
from mailward.core.mtasts.record import Record, RecordError, parse_record
from mailward.core.names import is_address, matches_mx

EXPIRED, NOT_YET_VALID = 10, 9
"""X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID"""
LEAD_DAYS = 14


@dataclass(frozen=True)
class Look:
    """What one session says, under the policy and the TLSA records of now."""

    host: MxHost
    session: Session
    patterns: tuple[str, ...]
    """Of the policy in force or tested."""
    records: tuple[Tlsa, ...]
    """That DNSSEC proves."""
    names: tuple[str, ...]
    """The reference names for DANE-TA."""
    now: datetime

    @cached_property
    def chain(self) -> tuple[Certificate, ...]:
        return read_chain(self.session.tls.chain) if self.session.tls else ()

    @property
    def certificate(self) -> Certificate | None:
        return self.chain[0] if self.chain else None

    @property
    def is_encrypted(self) -> bool:
        return self.session.tls is not None

    @property
    def is_trusted(self) -> bool:
        """Whether OpenSSL trusts the chain; by its dates as they are now."""
        if self.session.tls is None or self.certificate is None:
            return False
        others = {error.number for error in self.session.tls.errors} - {EXPIRED, NOT_YET_VALID}
        return not others and not self.is_out_of_date

    @cached_property
    def is_out_of_date(self) -> bool:
        path = self.chain[:1] or ()
        dated = any(not each.not_before <= self.now <= each.not_after for each in path)
        errors = self.session.tls.errors if self.session.tls else ()
        return dated or any(error.number in (EXPIRED, NOT_YET_VALID) and error.depth for error in errors)

    @property
    def names_host(self) -> bool:
        return self.certificate is not None and self.certificate.names_host(self.host.name)

    @property
    def names_pattern(self) -> bool:
        """Postfix's way: whether a name of the certificate is among the patterns, `*.` standing for any depth."""
        names = self.certificate.names if self.certificate else ()
        return matches_any(self.patterns, names)

    @cached_property
    def dane(self) -> Verdict:
        return verify(self.records, self.chain, self.names, self.now)


@dataclass(frozen=True)
class HostView:
    host: MxHost
    covered_by: str | None
    """The first pattern of the policy that covers it."""
    dane: HostState
    records: tuple[Tlsa, ...]
    """TLSA records that DNSSEC proves, of the name that counts."""
    looks: tuple[Look, ...]
    """Of the sessions that say anything about TLS."""

    @property
    def name(self) -> str:
        return self.host.name


@dataclass(frozen=True)
class View:
    facts: Facts
    lead_days: int = LEAD_DAYS
    """How long before its end a certificate is said to end soon."""

    @cached_property
    def record(self) -> Record | RecordError:
        try:
            return parse_record(self.facts.sts.texts)
        except RecordError as error:
            return error

    @cached_property
    def read_policy(self) -> tuple[Policy | None, tuple[Problem, ...]]:
        """Of the first address that serves one, whatever the record says."""
        for fetch in self.facts.policy_host.fetches:
            if fetch.has_body:
                return lint_policy(fetch.body)
        return None, ()

    @property
    def served(self) -> Policy | None:
        return self.read_policy[0]

    @property
    def is_policy_unobserved(self) -> bool:
        """Whether a policy is announced, and no address of its host could be asked from here."""
        fetches = self.facts.policy_host.fetches
        is_blind = bool(fetches) and all(fetch.error == UNOBSERVED for fetch in fetches)
        return is_blind and isinstance(self.record, Record)

    @property
    def published(self) -> Policy | None:
        """What a sender uses that meets the domain for the first time."""
        return self.served if isinstance(self.record, Record) else None

    @property
    def mode(self) -> Mode | None:
        return self.published.mode if self.published else None

    @property
    def patterns(self) -> tuple[str, ...]:
        policy = self.published
        return policy.mx if policy is not None and policy.mode is not Mode.NONE else ()

    @cached_property
    def hosts(self) -> tuple[HostView, ...]:
        return tuple(self._look_at(host) for host in self.facts.hosts)

    def weight(self, *, without_policy: Severity) -> Severity:
        """How much it weighs when strict senders of MTA-STS do not deliver to a host."""
        match self.mode:
            case Mode.ENFORCE:
                return Severity.CRITICAL
            case Mode.TESTING:
                return Severity.WARNING
            case _:
                return without_policy

    def _look_at(self, host: MxHost) -> HostView:
        state, records = self._judge_dane(host)
        names = [host.name]
        if self.facts.mx.is_secure:
            names.append(self.facts.domain)  # RFC 7672 §3.2.2
        covered = next((pattern for pattern in self.patterns if matches_mx(pattern, host.name)), None)
        looks = tuple(
            Look(host, session, self.patterns, records, tuple(names), self.facts.at)
            for session in host.sessions
            if session.is_observed
        )
        return HostView(host, covered, state, records, looks)

    def _judge_dane(self, host: MxHost) -> tuple[HostState, tuple[Tlsa, ...]]:
        outcome = host.address_outcome
        if outcome is Outcome.ABSENT:
            return HostState.DEAD, ()
        if outcome is Outcome.FAILED:
            return HostState.FAILED, ()
        looked_up = host.tlsa if outcome is Outcome.SECURE else _of_secure_alias(host)
        for lookup in looked_up:
            if lookup.has_failed:
                return HostState.FAILED, ()
            if lookup.was_found and lookup.is_secure:
                records = read_tlsa(lookup.records)
                usable = any(record.is_usable for record in records)
                return (HostState.USABLE if usable else HostState.UNUSABLE), records
        return HostState.WITHOUT, ()


def _of_secure_alias(host: MxHost) -> tuple[Lookup, ...]:
    """RFC 7672 §2.2.2: where the address is not secure, senders ask for TLSA only if the host is a secure alias, and
    then at its own name. What is proved there proves that the zone is signed, and the alias in it secure.
    """
    own_names = owner_names(host.name, (), 25) if host.v4.chain or host.v6.chain else ()
    return tuple(each for each in host.tlsa if each.name in own_names and each.was_found and each.is_secure)


def read_tlsa(texts: tuple[str, ...]) -> tuple[Tlsa, ...]:
    records = []
    for text in texts:
        try:
            records.append(parse_tlsa(text))
        except TlsaInvalid:
            continue
    return tuple(records)


def expires_soon(certificate: Certificate, now: datetime, lead_days: int) -> bool:
    """Whether its renewal is late: less than `lead_days` are left, and less than a third of its life.

    Automatic renewal comes after two thirds of a certificate's life, also for those that live for days only.
    """
    left = certificate.not_after - now
    lifetime = certificate.not_after - certificate.not_before
    return timedelta() <= left < timedelta(days=lead_days) and left < lifetime / 3


def explain_trust(tls: Tls) -> str:
    return "; ".join(
        f"OpenSSL {error.number}, certificate {error.depth}: {error.text}" for error in tls.errors
    )


@lru_cache(maxsize=32)
def _index(names: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Of a certificate's names: the plain ones, what is below `*.`, and each end of any of them from a dot on.

    A policy may have 4,000 lines and a certificate 1,000 names, at 300 addresses: nobody compares each with each.
    """
    plain = frozenset(name for name in names if name and not name.startswith("*."))
    wild = frozenset(name[2:] for name in names if name.startswith("*."))
    ends = frozenset(name[at:] for name in names for at, letter in enumerate(name) if letter == ".")
    return plain, wild, ends


def matches_any(patterns: Iterable[str], names: tuple[str, ...]) -> bool:
    """`secure match=`: `mx.example.com` as it is, `*.example.com` as `.example.com`, which is every name below.

    `names`: in lower case.
    """
    plain, wild, ends = _index(names)
    for pattern in map(str.lower, patterns):
        if pattern.startswith("*."):
            if pattern[1:] in ends:
                return True
            continue
        host = pattern.removesuffix(".")
        first, _, rest = host.partition(".")
        if (host in plain or (first not in ("", "*") and rest in wild)) and not is_address(host):
            return True
    return False
