"""What a domain's people chose is no fault of theirs, nor is a server of this installation that is away: it is shown,
and they are not told of it as a problem.
"""

from collections.abc import Collection
from dataclasses import replace

from mailward.core.check.codes import Code
from mailward.core.check.finding import merge
from mailward.core.check.run import Report
from mailward.core.explain.explanation import Severity

OF_LEAVING = frozenset((Code.STS_ABSENT, Code.STS_RECORD_MISSING))
"""What a look sees of a domain that has left MTA-STS, and while its records go (RFC 8461 section 8.3)."""
_OURS = "a server of this installation: who runs it is told"
_WHY = "chosen: the plan to leave MTA-STS was followed to its end"


def mark_left(report: Report) -> Report:
    """The same, of a domain that has left MTA-STS."""
    marked = (
        replace(each, severity=Severity.NOTICE, evidence=(*each.evidence, _WHY))
        if each.code in OF_LEAVING
        else each
        for each in report.findings
    )
    return replace(report, findings=merge(marked))


def mark_ours(report: Report, nodes: Collection[str]) -> Report:
    """The same, where what fails is a node of ours while others serve. `nodes`: the addresses of those whose going away
    is told once, to those who can do something about it.
    """
    marked = (
        replace(each, severity=Severity.NOTICE, evidence=(*each.evidence, _OURS))
        if each.code is Code.POLICY_HOST_DIFFERS and set(nodes).issuperset(each.addresses or ("",))
        else each
        for each in report.findings
    )
    return replace(report, findings=merge(marked))
