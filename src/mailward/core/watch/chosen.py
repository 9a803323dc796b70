"""What a domain's people chose is no fault of theirs: it is shown, and nobody is told of it as a problem."""

from dataclasses import replace

from mailward.core.check.codes import Code
from mailward.core.check.finding import merge
from mailward.core.check.run import Report
from mailward.core.explain.explanation import Severity

OF_LEAVING = frozenset((Code.STS_ABSENT, Code.STS_RECORD_MISSING))
"""What a look sees of a domain that has left MTA-STS, and while its records go (RFC 8461 section 8.3)."""
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
