"""The explanation of a problem: of a finding of our checks, of what we do ourselves, or of a result type of
reports.
"""

from mailward.core.check.codes import Code
from mailward.core.explain.catalogue import explain_result
from mailward.core.explain.checks import explain_finding
from mailward.core.explain.explanation import Explanation
from mailward.core.explain.following import FOLLOWING
from mailward.core.explain.hosting import HOSTING
from mailward.core.explain.rollout import JUMP, JUMPED
from mailward.core.explain.upkeep import UPKEEP


def explain_problem(cause: str) -> Explanation:
    """Never fails. Texts hold placeholders: see Explanation.filled."""
    if cause in HOSTING:
        return HOSTING[cause]
    if cause in UPKEEP:
        return UPKEEP[cause]
    if cause == JUMPED:
        return JUMP
    if cause in FOLLOWING:
        return FOLLOWING[cause]
    return explain_finding(Code(cause)) if cause in set(Code) else explain_result(cause)
