"""One policy of a report, described: what it says, how it went, what the report leaves open."""

from dataclasses import dataclass

from mailward.core.explain.catalogue import Explanation, explain_policy_type
from mailward.core.tlsrpt.failures import Context, Failure, gather_failures
from mailward.core.tlsrpt.schema import Policy, PolicyResult, PolicyType
from mailward.core.tlsrpt.sentences import say_count, say_share, shorten

MAX_LINES = 100
"""Policy lines, and MX patterns, shown."""


@dataclass(frozen=True, slots=True)
class PolicySection:
    """What was seen under one policy."""

    title: str
    """ "MTA-STS policy of example.com"."""
    explanation: Explanation
    policy_type: str | None
    domain: str | None
    """The policy domain; for `tlsa` an MX host."""
    mode: str | None
    """Of an MTA-STS policy: enforce, testing, none, or what the sender wrote."""
    lines: tuple[str, ...]
    mx_patterns: tuple[str, ...]
    ok: int | None
    failed: int | None
    share: str
    """The encrypted part, "99.5 %"; "" if unknown."""
    sentence: str
    """The two counts in words."""
    notes: tuple[str, ...]
    """Where the report contradicts itself or leaves something out."""
    failures: tuple[Failure, ...]
    """The largest first."""
    failures_left_out: int = 0


def describe_policy(result: PolicyResult, reporter: str, domain: str | None) -> PolicySection:
    """The section of one policy, with all its failures."""
    policy, summary = result.policy, result.summary
    ok, failed = summary.total_successful_session_count, summary.total_failure_session_count
    mode = _find_mode(policy)
    context = Context(reporter, policy.policy_type, policy.policy_domain, mode, domain)
    explanation = explain_policy_type(policy.policy_type)
    is_tlsa = policy.policy_type == PolicyType.TLSA
    return PolicySection(
        title=shorten(_name_policy(policy, explanation, domain)),
        explanation=explanation.filled(
            mx=policy.policy_domain if is_tlsa and policy.policy_domain != domain else None,
            domain=domain if is_tlsa else policy.policy_domain,
        ),
        policy_type=shorten(policy.policy_type) if policy.policy_type else None,
        domain=shorten(policy.policy_domain) if policy.policy_domain else None,
        mode=mode,
        lines=_cut(policy.policy_string),
        mx_patterns=_cut(policy.mx_host),
        ok=ok,
        failed=failed,
        share=say_share(ok, failed),
        sentence=say_counts(ok, failed),
        notes=_note_gaps(result),
        failures=tuple(gather_failures(result.failure_details, context)),
    )


def say_counts(ok: int | None, failed: int | None) -> str:
    """Two counts as a sentence. What the report does not say is said to be unknown."""
    if ok is None and failed is None:
        return "The report does not say how many sessions there were."
    if ok is None:
        return f"{failed:,} failed; how many were encrypted is not said."
    if failed is None:
        return f"{ok:,} encrypted; how many failed is not said."
    if ok + failed == 0:
        return "No session was seen."
    return f"{say_count(ok + failed, 'session')}: {ok:,} encrypted, {failed:,} failed."


def _name_policy(policy: Policy, explanation: Explanation, asked: str | None) -> str:
    domain = policy.policy_domain
    if policy.policy_type == PolicyType.STS:
        return f"MTA-STS policy of {domain}" if domain else "MTA-STS policy of a domain that is not named"
    if policy.policy_type == PolicyType.TLSA:
        if not domain:
            return "DANE records of a host that is not named"
        # Microsoft writes the recipient's domain where RFC 8460 section 4.4 wants the MX host
        return f"DANE records of {domain}" if domain == asked else f"DANE records of the MX host {domain}"
    if policy.policy_type == PolicyType.NO_POLICY_FOUND:
        return f"No policy found for {domain}" if domain else "No policy found"
    name = f"{explanation.title} {policy.policy_type}" if policy.policy_type else "Policy without a type"
    return f"{name}, {domain}" if domain else name


def _find_mode(policy: Policy) -> str | None:
    if policy.policy_type != PolicyType.STS:
        return None
    for line in policy.policy_string[:MAX_LINES]:
        name, colon, value = line.partition(":")
        # RFC 8461 section 3.2: the first of duplicated fields counts
        if colon and name.strip().lower() == "mode":
            return shorten(value.strip(), 20)
    return None


def _cut(lines: tuple[str, ...]) -> tuple[str, ...]:
    shown = tuple(shorten(line) for line in lines[:MAX_LINES])
    left_out = len(lines) - len(shown)
    return (*shown, f"… and {say_count(left_out, 'more line')}") if left_out else shown


def _note_gaps(result: PolicyResult) -> tuple[str, ...]:
    failed = result.summary.total_failure_session_count
    counts = [detail.failed_session_count for detail in result.failure_details]
    listed = sum(count for count in counts if count is not None)
    if not counts:
        return ("The report does not say why these sessions failed.",) if failed else ()
    notes = []
    if None in counts:
        notes.append("Some of the failures listed come without a number.")
    if failed is None:
        notes.append(f"The report gives no total of failures; those listed add up to {listed:,}.")
    elif listed > failed:
        # RFC 8460 section 4: failure types are not exclusive
        notes.append(
            f"The failures listed add up to {listed:,}, the total says {failed:,}: one session can fail for "
            "several reasons, or the report is wrong."
        )
    elif listed < failed and None not in counts:
        notes.append(f"The failures listed add up to {listed:,} of {failed:,}: the rest is not explained.")
    return tuple(notes)
