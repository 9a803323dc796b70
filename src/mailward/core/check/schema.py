"""The document of `mailward check --json` as types, for whoever reads it: tests, the schema, comparisons over time.

    moment = read_moment(line)              # what a comparison needs of a document, or DocumentUnreadable

Fields are added, never renamed or removed, while `format` is 1; what was added later has a default here, so that older
documents stay readable. docs/check-schema.json is made of these types (`scripts/write-check-schema`).
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal

import msgspec

from mailward.core.check.codes import Code
from mailward.core.check.facts import Found, Reach
from mailward.core.check.verdict import Kind, Outcome, Why
from mailward.core.explain.explanation import Severity
from mailward.core.tlsrpt.results import ResultType

Time = Annotated[datetime, msgspec.Meta(tz=True)]
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024


class DocumentUnreadable(ValueError):
    """This is no document of a check, or one of a later format; the text says why."""

    code = "document-unreadable"


class Lookup(msgspec.Struct, frozen=True):
    name: str
    type: str
    status: Found
    records: list[str]
    dnssec: bool
    cnames: list[str]
    reason: str | None


class Certificate(msgspec.Struct, frozen=True):
    subject: str
    issuer: str
    names: list[str]
    not_before: Time
    not_after: Time
    key: str
    sha256: str = ""
    """Of the certificate, in hexadecimal."""
    key_sha256: str = ""
    """Of its SubjectPublicKeyInfo, which TLSA records with selector 1 and type 1 hold."""


class TrustError(msgspec.Struct, frozen=True):
    openssl: int
    depth: int
    text: str


class Tls(msgspec.Struct, frozen=True):
    version: str
    cipher: str
    chain: list[Certificate]
    errors: list[TrustError]


class Version(msgspec.Struct, frozen=True):
    version: str
    cipher: str


class Accepted(msgspec.Struct, frozen=True):
    version: str
    names: list[str]
    """Of IANA's registry."""


class Ciphers(msgspec.Struct, frozen=True):
    accepted: list[Accepted]
    unfinished: str | None
    """Why not all were asked for."""


class Depth(msgspec.Struct, frozen=True):
    versions: list[Version]
    accepts_injected: bool | None
    ciphers: Ciphers | None = None


class Session(msgspec.Struct, frozen=True):
    address: str
    reach: Reach
    observed: bool
    reason: str | None
    banner: str | None
    extensions: list[str]
    starttls_reply: str | None
    tls: Tls | None
    tls_error: str | None
    extensions_in_tls: list[str]
    depth: Depth | None


class Host(msgspec.Struct, frozen=True):
    name: str
    a: Lookup
    aaaa: Lookup
    tlsa: list[Lookup]
    sessions: list[Session]


class Fetch(msgspec.Struct, frozen=True):
    address: str
    error: str | None
    message: str | None
    status: int | None
    body: str | None
    tls: Tls | None
    client: str | None = None
    """Who we said that we were, where it was another client than ours."""


class PolicyHost(msgspec.Struct, frozen=True):
    a: Lookup
    aaaa: Lookup
    caa: Lookup | None
    fetches: list[Fetch]
    as_others: Fetch | None = None


class Policy(msgspec.Struct, frozen=True):
    mode: Literal["enforce", "testing", "none"]
    max_age: int
    mx: list[str]


class Target(msgspec.Struct, frozen=True):
    uri: str
    host: str
    takes_reports: bool | None
    reason: str | None
    took_trial: bool | None = None
    trial: str | None = None


class Facts(msgspec.Struct, frozen=True):
    dnssec_validated: bool
    mx: Lookup
    hosts: list[Host]
    sts_record: Lookup
    policy_host: PolicyHost
    policy: Policy | None
    tlsrpt_record: Lookup
    targets: list[Target]
    sts_id: str | None = None
    """Of the record, where senders can use it."""


class Moment(msgspec.Struct, frozen=True):
    """What was seen at one time: of a document, what a comparison needs."""

    format: Literal[1]
    domain: str
    at: Time
    supposed: list[str]
    facts: Facts


class Grade(msgspec.Struct, frozen=True):
    letter: Literal["A", "B", "C", "D", "F"]
    points: int
    sum: list[str]


class Verdict(msgspec.Struct, frozen=True):
    sender: Kind
    outcome: Outcome
    why: Why | None
    text: str
    accepted: list[str]
    refused: list[str]
    not_observed: list[str]
    changes_at: Time | None
    changing: int


class Finding(msgspec.Struct, frozen=True):
    code: Code
    severity: Severity
    about: str
    evidence: list[str]
    title: str
    meaning: str
    steps: list[str]
    section: str
    notes: list[str]
    attack: str | None
    result_type: ResultType | None


class Unobserved(msgspec.Struct, frozen=True):
    about: str
    reason: str


class History(msgspec.Struct, frozen=True):
    """What earlier documents add."""

    checks: int
    """How many earlier ones were looked at."""
    since: Time | None
    longest_max_age: int | None
    """Seconds: the longest of any policy that was seen, whether in force or not."""
    copies_until: Time | None
    """When the last copy of a policy ends that is known to have been served: last seen, plus its max_age."""


class Rehearsed(msgspec.Struct, frozen=True):
    """Failed sessions that are alike."""

    sender: str
    mx: str | None
    code: str
    sessions: int


class Rehearsal(msgspec.Struct, frozen=True):
    """What the sessions of reports would have met under the policy that is supposed."""

    mode: Literal["enforce", "testing", "none"]
    reports: int
    first_day: date | None
    last_day: date | None
    refused: list[Rehearsed]
    """If the mode were `enforce`."""
    passing: list[Rehearsed]
    successful: int
    unverified: int


class Document(msgspec.Struct, frozen=True):
    format: Literal[1]
    domain: str
    at: Time
    supposed: list[str]
    worst: Severity | None
    grade: Grade | None
    verdicts: list[Verdict]
    findings: list[Finding]
    not_observed: list[Unobserved]
    facts: Facts
    history: History | None = None
    rehearsal: Rehearsal | None = None


_decoder = msgspec.json.Decoder(Moment)


def read_moment(document: bytes | str | Mapping[str, object]) -> Moment:
    """Of a document as JSON, or already read. Raises DocumentUnreadable."""
    try:
        if not isinstance(document, bytes | str):
            return msgspec.convert(document, Moment)
        if len(document) > MAX_DOCUMENT_BYTES:
            raise DocumentUnreadable(f"it is larger than {MAX_DOCUMENT_BYTES} bytes")
        return _decoder.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise DocumentUnreadable(f"it is no document of a check: {error}"[:200]) from error
