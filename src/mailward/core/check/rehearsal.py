"""Which of the sessions that senders reported would be refused under a policy that is not published yet (RFC 8461 §5).

    rehearsal = Rehearsal(domain, policy)
    rehearsal.take(report)                  # core.tlsrpt.schema.Report, as often as there are
    rehearsal.result()

Reports name the MX host of a failed session and not that of a successful one: what would become of those under other
`mx` lines cannot be said, and is not. Sessions of DANE (`tlsa`) are left out: no policy changes them. Whether a report
is genuine is not asked here.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date

from mailward.core.explain import causes
from mailward.core.explain.catalogue import explain_result
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import matches_mx
from mailward.core.tlsrpt.canonical import content_hash
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import FailureDetail, PolicyResult, PolicyType, Report

MAX_ROWS = 1000
OTHERS = "others"
"""The sender of rows beyond that."""
_OF_THE_POLICY = frozenset(
    (ResultType.STS_POLICY_FETCH_ERROR, ResultType.STS_POLICY_INVALID, ResultType.STS_WEBPKI_INVALID)
)
"""They say that there was no policy, which is what is supposed otherwise."""
_OF_DANE = frozenset((ResultType.TLSA_INVALID, ResultType.DNSSEC_INVALID, ResultType.DANE_REQUIRED))


def may_cost_mail(result_type: str | None) -> bool:
    """Whether sessions that failed by it are refused once a policy is enforced."""
    return result_type not in _OF_THE_POLICY and result_type not in _OF_DANE


@dataclass(frozen=True, slots=True)
class Row:
    """Failed sessions that are alike. Texts are strangers'."""

    sender: str
    mx: str
    """Empty: not said."""
    code: str
    """Of the cause (core.explain), such as `certificate-expired` or `mx-not-in-policy`."""
    sessions: int


@dataclass(frozen=True, slots=True)
class Rehearsed:
    mode: Mode
    reports: int
    """About this domain, each once."""
    first: date | None
    last: date | None
    refused: tuple[Row, ...]
    """Under `enforce`; the most sessions first."""
    passing: tuple[Row, ...]
    """Failed as reported, and would not under this policy: it covers the MX host."""
    successful: int
    """Under a policy of the domain, to MX hosts that are not named."""
    unverified: int
    """Successful without any policy: nobody compared certificates."""

    @property
    def refused_sessions(self) -> int:
        return sum(row.sessions for row in self.refused)


class Rehearsal:
    def __init__(self, domain: str, policy: Policy) -> None:
        self._domain, self._policy = domain, policy
        self._seen: set[bytes] = set()
        self._days: list[date] = []
        self._refused: Counter[tuple[str, str, str]] = Counter()
        self._passing: Counter[tuple[str, str, str]] = Counter()
        self._successful = self._unverified = 0

    def take(self, report: Report) -> None:
        """The same report twice counts once."""
        ours = [each for each in report.policies if self._is_ours(each)]
        digest = content_hash(report)
        if not ours or digest in self._seen:
            return
        self._seen.add(digest)
        if report.day_utc is not None:
            self._days.append(report.day_utc)
        sender = report.organization_name or "a sender without name"
        for result in ours:
            self._count(sender, result)

    def result(self) -> Rehearsed:
        return Rehearsed(
            self._policy.mode,
            len(self._seen),
            min(self._days, default=None),
            max(self._days, default=None),
            _rows(self._refused),
            _rows(self._passing),
            self._successful,
            self._unverified,
        )

    def _is_ours(self, result: PolicyResult) -> bool:
        policy = result.policy
        return policy.policy_domain == self._domain and policy.policy_type != PolicyType.TLSA

    def _count(self, sender: str, result: PolicyResult) -> None:
        good = result.summary.total_successful_session_count or 0
        if result.policy.policy_type == PolicyType.STS:
            self._successful += good
        else:
            self._unverified += good
        for detail in result.failure_details:
            if may_cost_mail(detail.result_type):
                self._judge(sender, result, detail)

    def _judge(self, sender: str, result: PolicyResult, detail: FailureDetail) -> None:
        mx = detail.receiving_mx_hostname or ""
        entry = explain_result(
            detail.result_type, policy_type=result.policy.policy_type, reason=detail.failure_reason_code
        )
        is_uncovered = bool(mx) and not any(matches_mx(pattern, mx) for pattern in self._policy.mx)
        code = causes.MX_NOT_IN_POLICY.code if is_uncovered else entry.code
        of_the_lines = entry.code == causes.MX_NOT_IN_POLICY.code and bool(mx) and not is_uncovered
        counts = self._passing if of_the_lines else self._refused
        key = (sender, mx, entry.code if of_the_lines else code)
        if len(counts) >= MAX_ROWS and key not in counts:
            key = (OTHERS, "", key[2])
        counts[key] += detail.failed_session_count or 1


def _rows(counts: Counter[tuple[str, str, str]]) -> tuple[Row, ...]:
    return tuple(Row(*key, sessions) for key, sessions in counts.most_common())
