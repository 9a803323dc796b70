"""Failure details, gathered: one cause on one host, with everybody who met it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mailward.core.explain.catalogue import EXPLANATIONS, Explanation, explain_result
from mailward.core.explain.policies import explain_consequence
from mailward.core.tlsrpt.results import POLICY_HOST_RESULTS
from mailward.core.tlsrpt.schema import FailureDetail, PolicyType
from mailward.core.tlsrpt.sentences import shorten

MAX_SOURCES = 20
MAX_EXAMPLES = 5
"""Of reason codes, addresses, HELO names and links in one failure."""
_DANE_NAME = "_25._tcp."  # some senders write the owner name of the TLSA record for the MX host


@dataclass(frozen=True, slots=True)
class Source:
    """Where the sender connected from: reporting organisation and sending MTA."""

    reporter: str
    address: str | None
    count: int | None
    """Failed sessions; None: no number given."""


@dataclass(frozen=True, slots=True)
class Information:
    text: str
    url: str | None
    """The same, where it may be linked: http and https only."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One cause on one host."""

    result_type: str | None
    """As sent."""
    explanation: Explanation
    consequence: str
    """What became of the mail; "" where the policy does not decide it."""
    host: str | None
    """The receiving MX, or the policy host; None where the report names none."""
    helos: tuple[str, ...]
    addresses: tuple[str, ...]
    """Of the receiving MX."""
    count: int | None
    """Failed sessions; None: no number given."""
    incomplete: bool
    """Some details give no number: `count` is the least it can be."""
    reasons: tuple[str, ...]
    information: tuple[Information, ...]
    sources: tuple[Source, ...]
    """The largest first."""
    sources_left_out: int

    @property
    def host_kind(self) -> str:
        return "Policy host" if self.result_type in POLICY_HOST_RESULTS else "Receiving MX"


@dataclass(frozen=True, slots=True)
class Context:
    """What the details of one policy share."""

    reporter: str
    policy_type: str | None
    policy_domain: str | None
    mode: str | None
    domain: str | None
    """The domain that the reader asks about, if it is known."""


def gather_failures(details: Iterable[FailureDetail], context: Context) -> list[Failure]:
    """The failures of one policy, the largest first."""
    gathered: dict[tuple[str | None, str, str | None], _Gathered] = {}
    for detail in details:
        explanation = explain_result(
            detail.result_type,
            policy_type=context.policy_type,
            reason=detail.failure_reason_code,
            mode=context.mode,
        )
        key = (detail.result_type, explanation.code, detail.receiving_mx_hostname)
        if (found := gathered.get(key)) is None:
            found = gathered[key] = _Gathered(explanation)
        found.add(detail)
    failures = [found.finish(key[0], key[2], context) for key, found in gathered.items()]
    return sorted(failures, key=lambda failure: -(failure.count or 0))


@dataclass(slots=True)
class _Gathered:
    explanation: Explanation
    known: int = 0
    numbers: int = 0
    details: int = 0
    sources: dict[str | None, int | None] = field(default_factory=dict)
    # dicts keep the order in which things were said
    helos: dict[str, None] = field(default_factory=dict)
    addresses: dict[str, None] = field(default_factory=dict)
    reasons: dict[str, None] = field(default_factory=dict)
    information: dict[str, None] = field(default_factory=dict)

    def add(self, detail: FailureDetail) -> None:
        self.details += 1
        count = detail.failed_session_count
        if count is not None:
            self.known += count
            self.numbers += 1
        before = self.sources.get(detail.sending_mta_ip)
        both_unknown = before is None and count is None
        self.sources[detail.sending_mta_ip] = None if both_unknown else (before or 0) + (count or 0)
        for text, examples in (
            (detail.receiving_mx_helo, self.helos),
            (detail.receiving_ip, self.addresses),
            (detail.failure_reason_code, self.reasons),
            (detail.additional_information, self.information),
        ):
            if text and len(examples) < MAX_EXAMPLES:
                examples[shorten(text)] = None

    def finish(self, result_type: str | None, mx: str | None, context: Context) -> Failure:
        # as it is under a policy in force; the explanation's is settled by mode
        in_itself = EXPLANATIONS[self.explanation.code].severity
        largest = sorted(self.sources.items(), key=lambda source: -(source[1] or 0))
        return Failure(
            result_type=shorten(result_type) if result_type else None,
            explanation=self.explanation.filled(mx=_find_mx(mx, context), domain=_find_domain(context)),
            consequence=explain_consequence(context.policy_type, context.mode, in_itself),
            host=_name_host(result_type, mx, context),
            helos=tuple(self.helos),
            addresses=tuple(self.addresses),
            count=self.known if self.numbers else None,
            incomplete=0 < self.numbers < self.details,
            reasons=tuple(self.reasons),
            information=tuple(map(_read_information, self.information)),
            sources=tuple(Source(context.reporter, *each) for each in largest[:MAX_SOURCES]),
            sources_left_out=max(len(largest) - MAX_SOURCES, 0),
        )


def _read_information(text: str) -> Information:
    # RFC 8460 section 4.4: a URI. What is not http or https (javascript:, data:) is shown and never linked
    web = text.lower().startswith(("https://", "http://")) and text.isprintable() and " " not in text
    return Information(text, text if web and not text.endswith("…") else None)


def _find_mx(mx: str | None, context: Context) -> str | None:
    """The MX host. The policy domain of `tlsa` is one (RFC 8460 §4.4), if it is not the recipient's."""
    named = context.policy_domain
    if mx is None and context.policy_type == PolicyType.TLSA and named and named != context.domain:
        return named.removeprefix(_DANE_NAME)
    return mx


def _find_domain(context: Context) -> str | None:
    return (
        context.domain if context.policy_type == PolicyType.TLSA else context.policy_domain or context.domain
    )


def _name_host(result_type: str | None, mx: str | None, context: Context) -> str | None:
    if mx is None and result_type in POLICY_HOST_RESULTS and (domain := _find_domain(context)):
        return shorten(f"mta-sts.{domain}")
    mx = _find_mx(mx, context)
    return shorten(mx) if mx else None


def sum_counts(counts: Sequence[int | None]) -> int | None:
    """The sum of what is known; None if nothing is. No data is not zero."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
