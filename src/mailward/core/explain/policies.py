"""The entries for the policy types, and what a failure does to the mail under each."""

from collections.abc import Mapping

from mailward.core.explain.explanation import Explanation, Severity
from mailward.core.explain.results import SEE_POLICY, SEE_TLSA
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import PolicyType

SECTION = "RFC 8460 section 4.4"

_ENTRIES = (
    Explanation(
        code=PolicyType.STS,
        title="MTA-STS",
        clause="seen under the MTA-STS policy of DOMAIN",
        meaning=(
            "The sender used the MTA-STS policy of DOMAIN: it says which MX hosts may receive mail, and "
            "that their certificates must be right."
        ),
        severity=Severity.NOTICE,
        steps=(SEE_POLICY, "Compare it with the policy lines in the report: a sender may use an older copy."),
        section=SECTION,
    ),
    Explanation(
        code=PolicyType.TLSA,
        title="DANE",
        clause="seen under the DANE records of MX_HOST",
        meaning=(
            "The sender used the DANE records (TLSA, signed with DNSSEC) of MX_HOST. The name in this "
            "entry is that of the MX host, not of the domain."
        ),
        severity=Severity.NOTICE,
        steps=(SEE_TLSA, "Compare them with the records in the report."),
        section=SECTION,
    ),
    Explanation(
        code=PolicyType.NO_POLICY_FOUND,
        title="No policy",
        clause="seen without a policy",
        meaning=(
            "The sender found neither an MTA-STS policy nor DANE records. It encrypts where it can, and "
            "nothing stops an attacker who takes the encryption away."
        ),
        severity=Severity.WARNING,
        steps=(
            (
                "If DOMAIN has a policy, check that `dig TXT _mta-sts.DOMAIN` gives exactly one record that "
                "begins `v=STSv1;`."
            ),
            "If it has none, publish one with `mode: testing`, and `mode: enforce` once reports are clean.",
            "Some senders look for a policy only after the first mail: one such entry is no fault.",
        ),
        section=SECTION,
    ),
)

_STS_REFUSES = frozenset(
    {
        ResultType.STARTTLS_NOT_SUPPORTED,
        ResultType.CERTIFICATE_HOST_MISMATCH,
        ResultType.CERTIFICATE_EXPIRED,
        ResultType.CERTIFICATE_NOT_TRUSTED,
        ResultType.VALIDATION_FAILURE,
    }
)
"""RFC 8461 section 5: no TLS, or a certificate that is not as the policy asks."""

POLICIES: Mapping[str, Explanation] = {entry.code: entry for entry in _ENTRIES}

UNKNOWN_POLICY = Explanation(
    code="unknown-policy",
    title="Unknown policy type",
    clause="seen under a policy of an unknown type",
    meaning="The sender names a policy type that is not in the standard, or none.",
    severity=Severity.NOTICE,
    steps=(
        "Read the policy lines in the report; if they say nothing to you, write to the contact it names.",
    ),
    section=SECTION,
)


def explain_consequence(policy_type: str | None, mode: str | None, severity: Severity) -> str:
    """What happened to the mail in these sessions, as far as the policy decides it. "" where it does not."""
    if severity is not Severity.CRITICAL:
        return ""
    if policy_type == PolicyType.TLSA:
        return (
            "This mail was not delivered there: a sender that uses DANE tries again, and gives up after days."
        )
    if policy_type == PolicyType.NO_POLICY_FOUND:
        return "No policy applied, so most senders deliver all the same, some without encryption."
    if policy_type != PolicyType.STS:
        return ""
    if mode == "enforce":
        return (
            "The policy says `mode: enforce`: this mail was not delivered there. The sender tries again for "
            "days."
        )
    if mode == "testing":
        return (
            "The policy says `mode: testing`: this mail was delivered all the same. Under `enforce` it is "
            "not."
        )
    if mode == "none":
        return "The policy says `mode: none`: this mail was delivered all the same."
    return ""


def explain_standing(result_type: str, mode: str | None) -> str:
    """What a failure does to mail under the policy that is served now, `mode` None without one. "" where
    MTA-STS does not decide it."""
    if result_type not in _STS_REFUSES:
        return ""
    if mode == "enforce":
        return "Your policy is in force: senders that follow it do not deliver there."
    if mode == "testing":
        return (
            "Your policy is in testing mode: senders that follow it deliver all the same. Under `enforce` they "
            "would not."
        )
    return "You have no policy in force: most senders deliver all the same, some without encryption."


def settle_severity(severity: Severity, policy_type: str | None, mode: str | None) -> Severity:
    """A failure that would cost mail only warns where no policy makes the sender refuse."""
    harmless = policy_type == PolicyType.NO_POLICY_FOUND or mode in {"testing", "none"}
    return Severity.WARNING if harmless and severity is Severity.CRITICAL else severity
