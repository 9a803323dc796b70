"""A policy that is to follow its MX records and does not get there."""

from mailward.core.explain.explanation import Explanation, Severity

FOLLOW_HELD = "mx-follow-held"

HELD = Explanation(
    code=FOLLOW_HELD,
    title="The policy does not follow the MX records",
    clause="the policy cannot follow the MX records at MX_HOST",
    meaning=(
        "The change that the MX records ask for would lock mail out, or the servers of the zone do not agree. The "
        "policy stays as it is, and senders go by it. It is tried again by itself, each hour at the latest."
    ),
    severity=Severity.WARNING,
    steps=(
        "Read the reason on the domain's page MX.",
        "If the certificate of MX_HOST is refused, renew it; if servers of the zone differ, bring them up to date.",
        "Ask each server of the zone: `dig @SERVER DOMAIN MX`",
        "If the policy is to stay as it is, object on the domain's page MX.",
    ),
    section="RFC 8461 section 4.1",
    attack=(
        "An MX host that nobody of yours has added, or that one server alone names, may be forged: change nothing "
        "before you know."
    ),
)
