"""The record at `_smtp._tls`, and whether reports can arrive (RFC 8460 section 3)."""

from collections.abc import Iterator

from mailward.core.check.codes import Code
from mailward.core.check.finding import Finding
from mailward.core.check.rules.dns import takes_mail
from mailward.core.check.view import View
from mailward.core.dane.judge import HostState
from mailward.core.explain.explanation import Severity
from mailward.core.tlsrpt.record import NoRecord, RecordError, RecordInvalid, SeveralRecords, parse_record

_VERSION = b"v=tlsrptv1"


def report_record(view: View) -> Iterator[Finding]:
    lookup = view.facts.tlsrpt
    if not takes_mail(view):
        return
    shown = tuple(f'{lookup.name} TXT "{record}"' for record in lookup.records[:10])
    if lookup.has_failed:
        reason = f"TXT {lookup.name}: {lookup.reason}"
        yield Finding(Code.TLSRPT_LOOKUP_FAILED, Severity.NOTICE, lookup.name, (reason,))
        return
    try:
        record = parse_record(lookup.texts)
    except RecordError as error:
        yield _fault(view, error, (*shown, str(error)))
        return
    if record.skipped:
        evidence = (*shown, *(f"{uri}: senders pass over it" for uri in record.skipped))
        yield Finding(Code.TLSRPT_SYNTAX, Severity.NOTICE, lookup.name, evidence)


def report_targets(view: View) -> Iterator[Finding]:
    for target in view.facts.targets:
        if target.takes_reports is False:
            is_mail = target.uri.lower().startswith("mailto:")
            code = Code.TLSRPT_TARGET_TAKES_NO_MAIL if is_mail else Code.TLSRPT_TARGET_DEAD
            evidence = (f"rua={target.uri}", f"{target.host}: {target.reason}")
            yield Finding(code, Severity.WARNING, target.host, evidence)
        elif target.took_trial is False:
            evidence = (f"rua={target.uri}", f"to a test report: {target.trial}")
            yield Finding(Code.TLSRPT_TARGET_REFUSES, Severity.WARNING, target.host, evidence)


def _fault(view: View, error: RecordError, evidence: tuple[str, ...]) -> Finding:
    name = view.facts.tlsrpt.name
    if isinstance(error, SeveralRecords):
        return Finding(Code.TLSRPT_SEVERAL, Severity.WARNING, name, evidence)
    meant = any(_VERSION in text[:200].lower() for text in view.facts.tlsrpt.texts)
    if isinstance(error, RecordInvalid) or (isinstance(error, NoRecord) and meant):
        return Finding(Code.TLSRPT_SYNTAX, Severity.WARNING, name, evidence)
    for other in view.facts.elsewhere:
        if any(text.lower().startswith(_VERSION) for text in other.texts):
            at = tuple(f'{other.name} TXT "{record}"' for record in other.records[:10])
            return Finding(Code.TLSRPT_RECORD_MISPLACED, Severity.WARNING, name, at)
    protected = bool(view.patterns) or any(host.dane is HostState.USABLE for host in view.hosts)
    severity = Severity.WARNING if protected else Severity.NOTICE
    return Finding(Code.TLSRPT_MISSING, severity, name, evidence)
