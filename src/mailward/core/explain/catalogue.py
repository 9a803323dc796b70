"""The catalogue: looks up the one explanation for what a sender reports."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from mailward.core.explain.explanation import Explanation, Severity
from mailward.core.explain.policies import POLICIES, UNKNOWN_POLICY, settle_severity
from mailward.core.explain.results import RESULTS, UNKNOWN
from mailward.core.explain.rules import RULES

__all__ = ["EXPLANATIONS", "Explanation", "Severity", "explain_policy_type", "explain_result"]

EXPLANATIONS: Mapping[str, Explanation] = {
    entry.code: entry
    for entry in (
        *RESULTS.values(),
        *(rule.entry for rule in RULES),
        UNKNOWN,
        *POLICIES.values(),
        UNKNOWN_POLICY,
    )
}
"""Every entry by its code."""

_MAX_REASON = 500  # strangers write it; what matters stands at the start


def explain_result(
    result_type: str | None,
    *,
    policy_type: str | None = None,
    reason: str | None = None,
    mode: str | None = None,
) -> Explanation:
    """What a failure of this type means; never fails.

    `reason` is the sender's failure-reason-code and chooses a finer entry where one fits. `mode` is that of
    the MTA-STS policy it was seen under: what would cost mail under `enforce` only warns under `testing`.
    Texts hold placeholders: see Explanation.filled.
    """
    return _explain(result_type or "", policy_type, (reason or "")[:_MAX_REASON], mode)


def explain_policy_type(policy_type: str | None) -> Explanation:
    """What a policy type means; never fails."""
    return POLICIES.get(policy_type or "", UNKNOWN_POLICY)


@lru_cache(maxsize=256)  # a report repeats the same pair thousands of times
def _explain(result_type: str, policy_type: str | None, reason: str, mode: str | None) -> Explanation:
    entry = RESULTS.get(result_type, UNKNOWN)
    for rule in RULES:
        if rule.fits(result_type, policy_type, reason):
            entry = rule.entry
            break
    severity = settle_severity(entry.severity, policy_type, mode)
    return entry if severity is entry.severity else replace(entry, severity=severity)
