"""What a rule says."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mailward.core.check.codes import RESULT_TYPES, Code
from mailward.core.explain.explanation import Severity
from mailward.core.names import is_address
from mailward.core.tlsrpt.results import ResultType

MAX_EVIDENCE = 20
_ORDER = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.NOTICE: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    code: Code
    severity: Severity
    about: str
    """The host, the name in the DNS, or the URL that it is about."""
    evidence: tuple[str, ...] = ()
    """What was seen, as it was seen; not yet made safe for a terminal or a page."""

    notes: tuple[str, ...] = ()
    """What known senders make of it all the same."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The IP addresses that lines of evidence begin with."""
        starts = (line.partition(": ")[0] for line in self.evidence)
        return tuple(dict.fromkeys(start for start in starts if is_address(start)))

    @property
    def result_type(self) -> ResultType | None:
        """What senders report for it."""
        return RESULT_TYPES.get(self.code)


def merge(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One for each fault and thing, with all its evidence; the worst first, else in the order of the rules."""
    merged: dict[tuple[Code, str], Finding] = {}
    for finding in findings:
        key = (finding.code, finding.about)
        first = merged.setdefault(key, finding)
        if first is not finding:
            evidence = dict.fromkeys(first.evidence + finding.evidence)
            severity = min(first.severity, finding.severity, key=_ORDER.__getitem__)
            merged[key] = replace(
                first,
                evidence=tuple(evidence)[:MAX_EVIDENCE],
                severity=severity,
                notes=tuple(dict.fromkeys(first.notes + finding.notes)),
            )
    return tuple(sorted(merged.values(), key=lambda finding: _ORDER[finding.severity]))
