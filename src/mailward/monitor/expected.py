"""The records that a customer publishes, as values."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from mailward.core.mtasts import record as sts
from mailward.core.names import Domain
from mailward.core.tlsrpt import record as tlsrpt

CLAIM_PREFIX = "mailward-claim="


class RecordKey(StrEnum):
    CLAIM = "claim"
    POLICY_HOST = "mta-sts"
    STS = "_mta-sts"
    TLSRPT = "_smtp._tls"
    SERVERS = "servers"
    """No record: whether every server of the zone says the same (monitor.everyserver)."""
    SIGNATURES = "signatures"
    """No record either: whether what DNSSEC proves goes on being proved."""


class State(StrEnum):
    RIGHT = "right"
    MISSING = "missing"
    WRONG = "wrong"
    CONFLICTING = "conflicting"
    """More than one answer, so that senders use neither, or may see either."""
    UNKNOWN = "unknown"
    """Could not be asked."""


class RecordData(NamedTuple):
    rdtype: str
    value: str
    """As one types it into a DNS provider's form: text without quotes, names without final dot."""


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """What we know about a domain, whoever stores it."""

    name: Domain
    claim_token: str
    report_address: str
    policy_id: str | None
    """Of the newest policy that every policy host was seen to serve; None: there is none."""
    policy_host_name: str
    """What `mta-sts.<domain>` is pointed at."""
    organisation_address: str | None = None
    """The one for all domains of the organisation, accepted in place of the domain's."""
    delegation: str | None = None
    """`<token>.<zone>` of our nameserver, below which the domain's records stand; None: there is none."""
    policy_text: str | None = None
    """The body that is served now, to recognise it behind somebody's reverse proxy."""
    name_servers: tuple[str, ...] = ()
    """Ours, to which `mta-sts.<domain>` may be delegated as a zone; empty: it may not."""
    is_proved: bool = False
    """Whether the claim is."""


@dataclass(frozen=True, slots=True)
class ExpectedRecord:
    key: RecordKey
    name: str
    delegated: RecordData | None
    """A CNAME to us, so that nothing has to be published again when the policy changes."""
    self_managed: RecordData
    recommended: RecordData
    """The one of the two that works with this installation today."""
    purpose: str
    by_zone: tuple[RecordData, ...] = ()
    """NS records that make the name a zone of ours, in place of the CNAME; empty: not with this installation."""

    @property
    def offers_delegation(self) -> bool:
        """Whether the CNAME works with this installation; elsewhere it is only accepted."""
        return self.recommended == self.delegated


@dataclass(frozen=True, slots=True)
class RecordState:
    key: RecordKey
    state: State
    detail: str
    """One sentence: what is wrong and what is expected; empty if nothing is to be said."""
    observed: tuple[str, ...] = ()
    """What was seen, as text: `TXT v=STSv1; id=1;`, `CNAME policy.example`."""


def record_name(key: RecordKey, domain: Domain) -> str:
    label = "_mailward-challenge" if key is RecordKey.CLAIM else key.value
    return f"{label}.{domain}"


def expected_records(facts: DomainFacts) -> tuple[ExpectedRecord, ...]:
    """What to publish, in the order in which it is best done.

    Without a policy there is no `_mta-sts` text: it would announce what is not there (RFC 8461 section 8.1). A
    CNAME to our nameserver can stand there before, and announces nothing.
    """
    records = [_claim(facts), _policy_host(facts), _tlsrpt(facts)]
    if facts.policy_id is not None or facts.delegation is not None:
        # RFC 8461 §8.1: the body first, then the record that announces it; a CNAME may lead to nothing until then
        records.insert(2, _sts(facts, facts.policy_id or ""))
    return tuple(records)


def _claim(facts: DomainFacts) -> ExpectedRecord:
    data = RecordData("TXT", CLAIM_PREFIX + facts.claim_token)
    name = record_name(RecordKey.CLAIM, facts.name)
    purpose = "Proves that the domain is yours."
    if facts.delegation is not None:
        purpose += " Not needed once one of the CNAMEs below stands: only you know where they lead."
    return ExpectedRecord(RecordKey.CLAIM, name, None, data, data, purpose)


def _policy_host(facts: DomainFacts) -> ExpectedRecord:
    delegated = delegation_of(RecordKey.POLICY_HOST, facts) or RecordData("CNAME", facts.policy_host_name)
    self_managed = RecordData(
        "A / AAAA", f"the addresses of {facts.policy_host_name}, or of your reverse proxy to it"
    )
    name = record_name(RecordKey.POLICY_HOST, facts.name)
    purpose = "Leads senders to the server of your policy."
    by_zone = tuple(RecordData("NS", server) for server in facts.name_servers)
    return ExpectedRecord(RecordKey.POLICY_HOST, name, delegated, self_managed, delegated, purpose, by_zone)


def _sts(facts: DomainFacts, policy_id: str) -> ExpectedRecord:
    text = (
        RecordData("TXT", sts.serialise_record(sts.Record(policy_id))) if policy_id else RecordData("TXT", "")
    )
    name = record_name(RecordKey.STS, facts.name)
    purpose = "Tells senders that there is a policy, and by its id when it has changed."
    delegated = delegation_of(RecordKey.STS, facts)
    return ExpectedRecord(RecordKey.STS, name, delegated, text, delegated or text, purpose)


def _tlsrpt(facts: DomainFacts) -> ExpectedRecord:
    target = tlsrpt.mailto_target(facts.report_address)
    text = RecordData("TXT", tlsrpt.serialise_record(tlsrpt.Record((target,))))
    name = record_name(RecordKey.TLSRPT, facts.name)
    purpose = "Asks senders for reports about encrypted delivery to you."
    delegated = delegation_of(RecordKey.TLSRPT, facts)
    return ExpectedRecord(RecordKey.TLSRPT, name, delegated, text, delegated or text, purpose)


_DELEGATED_LABELS = {RecordKey.POLICY_HOST: "mta-sts", RecordKey.STS: "_mta-sts", RecordKey.TLSRPT: "_tlsrpt"}


def delegation_of(key: RecordKey, facts: DomainFacts) -> RecordData | None:
    """The CNAME that hands this record to our nameserver, once and for all."""
    if facts.delegation is None or key not in _DELEGATED_LABELS:
        return None
    return RecordData("CNAME", f"{_DELEGATED_LABELS[key]}.{facts.delegation}")
