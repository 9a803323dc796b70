"""Which MX hosts the policy covers (RFC 8461 section 4.1)."""

from collections.abc import Iterator

from mailward.core.check.codes import Code
from mailward.core.check.finding import Finding
from mailward.core.check.view import View
from mailward.core.explain.explanation import Severity
from mailward.core.names import matches_mx


def cover(view: View) -> Iterator[Finding]:
    """Without an `mx` line there is nothing to compare: the policy's own text is at fault then."""
    if not view.patterns or not view.facts.hosts:
        return
    uncovered = [host.name for host in view.hosts if host.covered_by is None]
    unused = [
        pattern for pattern in view.patterns if not any(matches_mx(pattern, host.name) for host in view.hosts)
    ]
    for name in uncovered:
        evidence = (f"MX {name}", *(f"mx: {pattern}" for pattern in view.patterns))
        yield Finding(Code.MX_NOT_IN_POLICY, view.weight(without_policy=Severity.NOTICE), name, evidence)
    if uncovered or view.facts.skipped_hosts:
        return  # then what covers nothing is part of that fault, or covers a host that was not looked at
    for pattern in unused:
        evidence = (f"mx: {pattern}", *(f"MX {host.name}" for host in view.hosts))
        yield Finding(Code.POLICY_PATTERN_UNUSED, Severity.NOTICE, pattern, evidence)
