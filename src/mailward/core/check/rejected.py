"""Which MX hosts strict senders would reject under a policy that is not published yet (RFC 8461 section 4.2)."""

from dataclasses import replace

from mailward.core.check.codes import Code
from mailward.core.check.facts import Facts, Found, mx_names
from mailward.core.check.rules.mxtls import certificates, starttls
from mailward.core.check.suppose import suppose_policy
from mailward.core.check.view import View
from mailward.core.explain.checks import explain_finding
from mailward.core.explain.explanation import Severity
from mailward.core.mtasts.change import ChangeFacts
from mailward.core.mtasts.policy import Policy, serialise_policy

# what a sender of MTA-STS refuses: DANE's own faults are none of a policy's making
_REJECTED = frozenset(
    (
        Code.STARTTLS_NOT_SUPPORTED,
        Code.STARTTLS_REFUSED,
        Code.TLS_HANDSHAKE,
        Code.TLS_VERSION,
        Code.CERTIFICATE_EXPIRED,
        Code.CERTIFICATE_NOT_YET_VALID,
        Code.CERTIFICATE_HOST_MISMATCH,
        Code.CERTIFICATE_COMMON_NAME_ONLY,
        Code.CERTIFICATE_SELF_SIGNED,
        Code.CERTIFICATE_NOT_TRUSTED,
        Code.CERTIFICATE_CHAIN_INCOMPLETE,
        Code.CERTIFICATE_TOO_WEAK,
    )
)
_MOST_FAULTS = 3


def change_facts(facts: Facts, policy: Policy, current: Policy | None) -> ChangeFacts:
    """What core.mtasts.change.refuse asks for, from a look at the domain. `policy`: the one to be published; `current`:
    the one that senders hold now. Raises PolicyInvalid.
    """
    if facts.mx.has_failed:
        return ChangeFacts(None, why_unknown=facts.mx.reason or "DNS did not answer", current=current)
    if facts.mx.was_found:
        # those too that were not looked at, for there are many: senders go to any of them
        names = tuple(mx_names(facts.domain, facts.mx))
    else:  # RFC 5321 §5.1: the implicit MX, where there is an address
        names = tuple(
            host.name for host in facts.hosts if host.addresses or host.v4.has_failed or host.v6.has_failed
        )
    return ChangeFacts(names, rejected=rejected(facts, policy), current=current)


def rejected(facts: Facts, policy: Policy) -> dict[str, str]:
    """MX host -> its faults in words. A host that could not be observed is not in it: that proves nothing."""
    # a record that is wrong now would hide what comes once it is right
    bare = replace(facts, sts=replace(facts.sts, found=Found.NODATA, records=(), texts=()))
    view = View(suppose_policy(bare, serialise_policy(policy).encode()))
    faults: dict[str, list[str]] = {}
    for rule in (starttls, certificates):
        for finding in rule(view):
            if finding.code in _REJECTED and finding.severity is Severity.CRITICAL:
                faults.setdefault(finding.about, []).append(explain_finding(finding.code).title)
    return {host: "; ".join(dict.fromkeys(titles[:_MOST_FAULTS])) for host, titles in faults.items()}
