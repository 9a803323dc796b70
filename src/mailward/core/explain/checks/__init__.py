"""What the findings of a check mean and what to do. Where senders report the same fault, the entry is that of theirs.

explain_finding(Code.MX_HOST_CNAME).filled(mx="mx1.example.com", domain="example.com").steps
"""

from collections.abc import Mapping

from mailward.core.check.codes import Code
from mailward.core.explain.catalogue import EXPLANATIONS
from mailward.core.explain.checks import certificates, ciphers, dane, dns, history, policy, records
from mailward.core.explain.explanation import Explanation

_OWN: Mapping[str, Explanation] = {
    entry.code: entry
    for module in (dns, records, policy, certificates, ciphers, dane, history)
    for entry in module.ENTRIES
}

CHECKS: Mapping[Code, Explanation] = {code: _OWN.get(code) or EXPLANATIONS[code] for code in Code}
"""An entry for every code."""


def explain_finding(code: Code) -> Explanation:
    """Texts hold placeholders: see Explanation.filled."""
    return CHECKS[code]
