"""A policy that is to follow its MX records and does not get there, or that nobody has asked to."""

from mailward.core.explain.explanation import Explanation, Severity

FOLLOW_HELD = "mx-follow-held"
FOLLOW_LEFT = "mx-host-left"

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

LEFT = Explanation(
    code=FOLLOW_LEFT,
    title="The policy trusts a host that is no MX host any more",
    clause="the policy still trusts MX_HOST, which has left the MX records",
    meaning=(
        "The MX records have named no host that the policy's line MX_HOST covers for some time now. Mail is "
        "delivered as before; whoever gets hold of that name could take mail with a forged MX record."
    ),
    severity=Severity.WARNING,
    steps=(
        "If it is gone for good, take the line MX_HOST out of the policy.",
        "Keep the name yours for as long as senders may hold the policy of before: its `max_age`.",
        "If it is to come back, plan it on the domain's page MX, or say there that the policy is to keep it.",
        "To have this done by itself, switch following on, on the same page.",
    ),
    section="RFC 8461 section 10.2",
)

FOLLOWING = {each.code: each for each in (HELD, LEFT)}
