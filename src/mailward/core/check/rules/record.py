"""The record at `_mta-sts` (RFC 8461 section 3.1)."""

from collections.abc import Iterator

from mailward.core.check.codes import Code
from mailward.core.check.facts import Lookup
from mailward.core.check.finding import Finding
from mailward.core.check.rules.dns import takes_mail
from mailward.core.check.view import View
from mailward.core.dane.judge import HostState
from mailward.core.explain.explanation import Severity
from mailward.core.mtasts.record import NoRecord, Record, RecordInvalid, SeveralRecords

_VERSION = b"v=stsv"  # whatever its number: a record is meant
_MAX_SHOWN = 10
_OTHERS = "KumoMTA joins all texts there and finds no policy; go-mtasts takes a second text for no policy."


def sts_record(view: View) -> Iterator[Finding]:
    lookup, record = view.facts.sts, view.record
    if not takes_mail(view):
        return  # no mail, nothing to protect
    if lookup.has_failed:
        reason = f"TXT {lookup.name}: {lookup.reason}"
        yield Finding(Code.STS_RECORD_LOOKUP_FAILED, Severity.WARNING, lookup.name, (reason,))
    elif isinstance(record, SeveralRecords):
        yield Finding(Code.STS_RECORD_SEVERAL, Severity.WARNING, lookup.name, _shown(lookup))
    elif isinstance(record, RecordInvalid):
        code = Code.STS_RECORD_ID if record.code.startswith("id-") else Code.STS_RECORD_SYNTAX
        yield Finding(code, Severity.WARNING, lookup.name, (*_shown(lookup), str(record)))
    elif isinstance(record, NoRecord):
        yield _absence(view, record)
    elif len(lookup.texts) > 1:
        yield Finding(Code.STS_RECORD_OTHER_TEXT, Severity.NOTICE, lookup.name, _shown(lookup), (_OTHERS,))


def _absence(view: View, error: NoRecord) -> Finding:
    lookup = view.facts.sts
    if any(_VERSION in text[:200].lower() for text in lookup.texts):
        evidence = (*_shown(lookup), str(error))
        return Finding(Code.STS_RECORD_VERSION, Severity.WARNING, lookup.name, evidence)
    if lookup.chain and not lookup.texts:
        evidence = (f"{lookup.name} CNAME {' CNAME '.join(lookup.chain)}: {lookup.found}",)
        return Finding(Code.STS_RECORD_DANGLING, Severity.WARNING, lookup.name, evidence)
    for other in view.facts.elsewhere:
        if any(text.lower().startswith(_VERSION) for text in other.texts):
            return Finding(Code.STS_RECORD_MISPLACED, Severity.WARNING, lookup.name, _shown(other))
    if view.served is not None:
        evidence = (*_shown(lookup), f"TXT {lookup.name}: {lookup.found}")
        return Finding(Code.STS_RECORD_MISSING, Severity.WARNING, lookup.name, evidence)
    return _no_policy(view)


def _no_policy(view: View) -> Finding:
    """Neither record nor policy. With DANE on every host that is a choice, without it a hole."""
    protected = view.hosts and all(host.dane is HostState.USABLE for host in view.hosts)
    severity = Severity.NOTICE if protected and view.facts.mx.is_secure else Severity.WARNING
    evidence = (*_shown(view.facts.sts), f"TXT {view.facts.sts.name}: {view.facts.sts.found}")
    return Finding(Code.STS_ABSENT, severity, view.facts.sts.name, evidence)


def announces(view: View) -> bool:
    """Whether the domain means to have a policy: a record of whatever quality says so. A policy host that has an
    address does not: a wildcard gives every name one.
    """
    if isinstance(view.record, Record | RecordInvalid | SeveralRecords):
        return True
    return any(_VERSION in text[:200].lower() for text in view.facts.sts.texts)


def _shown(lookup: Lookup) -> tuple[str, ...]:
    return tuple(f'{lookup.name} TXT "{record}"' for record in lookup.records[:_MAX_SHOWN])
