"""The explanation of a problem's cause, with the names concerned put in."""

from mailward.core.explain.catalogue import Explanation, Severity, explain_result
from mailward.core.tlsrpt.results import POLICY_HOST_RESULTS

_POLICY_HOST = "mta-sts."
_BADGES = {Severity.CRITICAL: "bad", Severity.WARNING: "warn", Severity.NOTICE: "info"}


def explain_cause(result_type: str, host: str, domain: str | None = None) -> Explanation:
    """`domain` is the one that the reader looks at; a policy host tells its own."""
    if result_type in POLICY_HOST_RESULTS:
        named = host.removeprefix(_POLICY_HOST) if host.startswith(_POLICY_HOST) else None
        return explain_result(result_type).filled(domain=domain or named)
    return explain_result(result_type).filled(mx=host or None, domain=domain)


def severity_badge(explanation: Explanation) -> str:
    """The badge class."""
    return _BADGES[explanation.severity]
