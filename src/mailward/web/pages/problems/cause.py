"""The explanation of a problem's cause, with the names concerned put in."""

from mailward.core.check.codes import Code
from mailward.core.explain.catalogue import Explanation, Severity
from mailward.core.explain.following import FOLLOW_HELD, FOLLOWING
from mailward.core.explain.hosting import HOSTING
from mailward.core.explain.problem import explain_problem
from mailward.core.explain.rollout import JUMPED
from mailward.core.explain.upkeep import UPKEEP
from mailward.core.tlsrpt.results import POLICY_HOST_RESULTS

_POLICY_HOST = "mta-sts."
_BADGES = {Severity.CRITICAL: "bad", Severity.WARNING: "warn", Severity.NOTICE: "info"}


def explain_cause(cause: str, host: str, domain: str | None = None) -> Explanation:
    """`cause`: a result type or the code of a finding. `domain` is the one that the reader looks at; a policy host
    tells its own.
    """
    if cause in POLICY_HOST_RESULTS:
        named = host.removeprefix(_POLICY_HOST) if host.startswith(_POLICY_HOST) else None
        return explain_problem(cause).filled(domain=domain or named)
    return explain_problem(cause).filled(mx=host or None, domain=domain)


def name_kind(cause: str, host: str) -> str:
    """What the host of a problem is."""
    if cause in POLICY_HOST_RESULTS or host.startswith(_POLICY_HOST):
        return "Policy host"
    is_name = cause in set(Code) and cause.startswith(("sts-", "policy-", "tlsrpt-"))
    return "Name in the DNS" if is_name or cause in UPKEEP or host.startswith("_") else "MX host"


def severity_badge(explanation: Explanation) -> str:
    """The badge class."""
    return _BADGES[explanation.severity]


def page_of(cause: str, *, is_checked: bool) -> str:
    """The name of the domain's page where more of it stands, and something can be done about it."""
    if cause in FOLLOWING:
        return "domain-mx"
    if cause in HOSTING or cause in UPKEEP:
        return "domain-setup"
    if cause == JUMPED:
        return "domain-rollout"
    return "domain-checks" if is_checked else "domain-home"


def name_sighting(cause: str) -> str:
    """The heading above what was seen."""
    if cause == FOLLOW_HELD:
        return "Why it is held"
    if cause in FOLLOWING:
        return "What the MX records say"
    if cause in HOSTING:
        return "What came of asking for the certificate"
    return "What the reports tell" if cause == JUMPED else "What our check saw"
