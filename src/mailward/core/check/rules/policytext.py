"""The policy's text (RFC 8461 section 3.2), by the grammar."""

from collections.abc import Iterator

from mailward.core.check.codes import Code
from mailward.core.check.finding import Finding
from mailward.core.check.rules.record import announces
from mailward.core.check.view import View
from mailward.core.explain.explanation import Severity
from mailward.core.explain.readers import KNOWN_READERS
from mailward.core.mtasts.policy import Level, Mode, Problem

_CODES = {
    "max-age-short": Code.POLICY_MAX_AGE_SHORT,
    "max-age-high": Code.POLICY_MAX_AGE_HIGH,
    "duplicate": Code.POLICY_DUPLICATE_FIELD,
    "unknown-field": Code.POLICY_UNKNOWN_FIELD,
}
_SEVERITIES = {
    Level.INVALID: Severity.WARNING,  # the policy protects nobody; mail flows
    Level.WARNING: Severity.WARNING,
    Level.NOTE: Severity.NOTICE,
}


def policy_text(view: View) -> Iterator[Finding]:
    policy, problems = view.read_policy
    if policy is None and not announces(view):
        return
    url = f"https://{view.facts.policy_host.name}/.well-known/mta-sts.txt"
    for problem in problems:
        note = KNOWN_READERS.get(problem.code)
        notes = (note,) if note else ()
        yield Finding(_code(problem), _SEVERITIES[problem.level], url, (str(problem),), notes)
    if policy is None:
        return
    if policy.mode is Mode.TESTING:
        yield Finding(Code.POLICY_TESTING, Severity.NOTICE, url, ("mode: testing",))
    if policy.mode is Mode.NONE:
        yield Finding(Code.POLICY_NONE, Severity.NOTICE, url, ("mode: none",))


def _code(problem: Problem) -> Code:
    if problem.level is Level.INVALID:
        return Code.STS_POLICY_INVALID
    return _CODES.get(problem.code, Code.POLICY_PATTERN_ODD)
