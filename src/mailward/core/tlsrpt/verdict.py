"""The sentences that come first: how it went, and who saw what. Types of policy are never added up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailward.core.tlsrpt.failures import Failure, sum_counts
from mailward.core.tlsrpt.schema import PolicyResult, PolicyType, Report
from mailward.core.tlsrpt.section import PolicySection, say_counts
from mailward.core.tlsrpt.sentences import say_count, say_list, shorten

_TYPE_WORDS = {
    PolicyType.STS.value: "MTA-STS",
    PolicyType.TLSA.value: "DANE",
    PolicyType.NO_POLICY_FOUND.value: "no policy",
}


class State(StrEnum):
    """What the verdict comes to."""

    ENCRYPTED = "encrypted"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The report does not say, or saw nothing."""
    FOREIGN = "foreign"
    """All of it is about other domains."""


@dataclass(frozen=True, slots=True)
class Total:
    """All sessions under one type of policy. None: nothing known."""

    policy_type: str | None
    ok: int | None
    failed: int | None

    @property
    def sessions(self) -> int:
        return (self.ok or 0) + (self.failed or 0)

    @property
    def words(self) -> str:
        return _TYPE_WORDS.get(self.policy_type or "", "an unknown policy")


def total_by_type(results: Iterable[PolicyResult]) -> tuple[Total, ...]:
    """One total per policy type, in the order of the report: `sts` and `tlsa` may count the same sessions."""
    by_type: dict[str | None, list[PolicyResult]] = {}
    for result in results:
        by_type.setdefault(result.policy.policy_type, []).append(result)
    return tuple(
        Total(
            policy_type,
            sum_counts([each.summary.total_successful_session_count for each in group]),
            sum_counts([each.summary.total_failure_session_count for each in group]),
        )
        for policy_type, group in by_type.items()
    )


def judge(totals: Sequence[Total], sections: Sequence[PolicySection]) -> tuple[str, State]:
    """The verdict on the policies that are the reader's own: one sentence."""
    if not totals:
        return "The report holds no policy: it says nothing about any session.", State.UNKNOWN
    failures = [failure for section in sections for failure in section.failures]
    worst = max(totals, key=lambda total: total.failed or 0)
    if worst.failed:
        return _say_failed(worst, len(totals) > 1, sections), State.FAILED
    if any(failure.count != 0 for failure in failures):
        return f"Failures are listed, though none is counted: {_say_causes(failures)}.", State.FAILED
    if any(total.failed is None for total in totals):
        return "The report does not say how many sessions failed.", State.UNKNOWN
    return _say_encrypted(totals)


def _say_failed(total: Total, is_one_of_several: bool, sections: Sequence[PolicySection]) -> str:
    failures = [
        failure
        for section in sections
        if section.policy_type == total.policy_type
        for failure in section.failures
    ]
    failed = total.failed or 0
    if total.ok is None:
        said = f"{say_count(failed, 'session')} failed"
    elif total.ok == 0:
        said = "The only session failed" if failed == 1 else f"All {failed:,} sessions failed"
    else:
        said = f"{failed:,} of {total.sessions:,} sessions failed"
    if is_one_of_several:
        said += f" under {total.words}"
    return f"{said}: {_say_causes(failures)}." if failures else f"{said}; the report does not say why."


def _say_causes(failures: Sequence[Failure]) -> str:
    clauses = list(dict.fromkeys(failure.explanation.clause for failure in failures))
    more = len(clauses) - 1
    return clauses[0] + (f", and {say_count(more, 'more cause')}" if more else "")


def _say_encrypted(totals: Sequence[Total]) -> tuple[str, State]:
    if any(total.ok is None for total in totals):
        return "No session failed; how many were encrypted is not said.", State.ENCRYPTED
    if not any(total.ok for total in totals):
        return "No session was seen.", State.UNKNOWN
    if len(totals) > 1:
        each = [f"{total.ok:,} under {total.words}" for total in totals]
        return f"All sessions were encrypted: {say_list(each, 'type', at_most=5)}.", State.ENCRYPTED
    count = totals[0].ok or 0
    said = "The only session was encrypted" if count == 1 else f"All {count:,} sessions were encrypted"
    unprotected = totals[0].policy_type == PolicyType.NO_POLICY_FOUND
    return said + (", though no policy asks for it." if unprotected else "."), State.ENCRYPTED


def name_reporter(report: Report) -> str:
    """What the reporter calls itself, else the domain of its contact."""
    contact_domain = (report.contact_info or "").rpartition("@")[2]
    return shorten(report.organization_name or contact_domain or "An organisation that gives no name")


def name_subject(results: Iterable[PolicyResult], domain: str | None) -> str:
    """What the policies are about: the domain asked for, else the domains named, else the MX hosts."""
    if domain:
        return domain
    policies = [result.policy for result in results]
    for is_host in (False, True):
        names = dict.fromkeys(
            policy.policy_domain
            for policy in policies
            if policy.policy_domain and (policy.policy_type == PolicyType.TLSA) is is_host
        )
        if names:
            listed = [shorten(name, 253) for name in names if name]
            if not is_host:
                return say_list(listed, "domain")
            return f"the MX host{'' if len(listed) == 1 else 's'} {say_list(listed, 'host')}"
    return "a domain that it does not name"


def say_totals(reporter: str, about: str, period: str, totals: Sequence[Total]) -> tuple[str, ...]:
    """Who saw what when, per type of policy."""
    if len(totals) == 1 and totals[0].ok is not None and totals[0].failed is not None and totals[0].sessions:
        counts = say_counts(totals[0].ok, totals[0].failed).partition(": ")
        return (f"{reporter} saw {counts[0]} to {about} {period}: {counts[2]}",)
    lead = f"{reporter} reports on sessions to {about} {period}."
    if len(totals) == 1:
        return (lead, say_counts(totals[0].ok, totals[0].failed))
    each = [f"Under {total.words}: {_lower(say_counts(total.ok, total.failed))}" for total in totals]
    if {PolicyType.STS, PolicyType.TLSA} <= {total.policy_type for total in totals}:
        each.append("The same session can stand under both, so they are not added up.")
    return (lead, *each)


def _lower(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
