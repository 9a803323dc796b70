"""What is known about a next hop when the decision is made, and what the decision says."""

from dataclasses import dataclass, field
from enum import StrEnum

from mailward.core.dane.judge import DaneFinding
from mailward.core.mtasts.policy import Policy
from mailward.core.names import Domain
from mailward.core.sending.overrides import Override


class Level(StrEnum):
    """Postfix's TLS security levels (smtp_tls_security_level)."""

    NONE = "none"
    MAY = "may"
    ENCRYPT = "encrypt"
    DANE = "dane"
    DANE_ONLY = "dane-only"
    FINGERPRINT = "fingerprint"
    VERIFY = "verify"
    SECURE = "secure"


class StsState(StrEnum):
    ABSENT = "absent"
    """No usable record, so no policy."""
    LIVE = "live"
    EXPIRED = "expired"
    RECORD_FAILED = "record-failed"
    """The lookup of the record failed, and no policy is cached."""
    FETCH_FAILED = "fetch-failed"
    """A record announces a policy that could not be fetched, and none is cached."""
    UNREADABLE = "unreadable"
    """The cache cannot be read: whether a policy is known, is not known."""


@dataclass(frozen=True, slots=True)
class StsFinding:
    state: StsState
    policy: Policy | None = None
    """Where it is live."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """What the operator says about the MTA."""

    default_level: Level | None = None
    """Its smtp_tls_security_level; None: not told, so never answered with a level that might be lower."""
    defer_on_record_failure: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    domain: Domain
    dane: DaneFinding
    sts: StsFinding
    site: Site = Site()
    override: Override | None = None
    """The one that holds for the domain now."""


class Row(StrEnum):
    """A row of the table in docs/sender-decisions.md."""

    NOT_A_DOMAIN = "not-a-domain"
    OVERRIDE_IGNORE = "override-ignore"
    OVERRIDE_SECURE = "override-secure"
    OVERRIDE_DANE_ONLY = "override-dane-only"
    OVERRIDE_RELAX = "override-relax"
    CACHE_UNREADABLE = "cache-unreadable"
    DANE_FULL = "dane-full"
    STS_PINNED = "sts-pinned"
    STS_ENFORCE = "sts-enforce"
    STS_ENFORCE_PARTIAL_DANE = "sts-enforce-partial-dane"
    STS_ENFORCE_UNKNOWN_DANE = "sts-enforce-unknown-dane"
    STS_ENFORCE_NO_NAME = "sts-enforce-no-name"
    DANE_PARTIAL = "dane-partial"
    DANE_PARTIAL_DEFAULT = "dane-partial-default"
    DANE_UNKNOWN = "dane-unknown"
    DANE_UNKNOWN_DEFERRED = "dane-unknown-deferred"
    STS_TESTING = "sts-testing"
    STS_TESTING_DEFAULT = "sts-testing-default"
    STS_NONE = "sts-none"
    STS_EXPIRED = "sts-expired"
    RECORD_FAILED = "record-failed"
    RECORD_FAILED_DEFERRED = "record-failed-deferred"
    FETCH_FAILED = "fetch-failed"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Decision:
    row: Row
    reason: str = ""
    """For people: why this row, with the lookup that failed where one did."""
    level: Level | None = None
    """None: the site's default holds (NOTFOUND), or the mail waits."""
    is_deferral: bool = False
    match: tuple[str, ...] = ()
    """For `secure`: names and `*.` patterns that the certificate must have one of."""
    policy: Policy | None = None
    """The MTA-STS policy that TLSRPT signals are labelled with."""
    policy_domain: Domain = field(default=Domain(""))
