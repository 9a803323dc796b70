"""Records that customers published for us, and that are not right any more."""

from collections.abc import Mapping

from mailward.core.explain.explanation import Explanation, Severity

POLICY_HOST, POLICY_ID, REPORTS = "hosted-policy-host", "hosted-policy-id", "hosted-reports"
SERVERS, SIGNATURES = "hosted-servers-differ", "hosted-signatures-end"

OF_RECORD: Mapping[str, str] = {
    "mta-sts": POLICY_HOST,
    "_mta-sts": POLICY_ID,
    "_smtp._tls": REPORTS,
    "servers": SERVERS,
    "signatures": SIGNATURES,
}
"""The cause under which each record is told, by its key (monitor.expected.RecordKey)."""

_PAGE = "See on the domain's page, under Set-up, what should stand there and what does."

ENTRIES = (
    Explanation(
        code=POLICY_HOST,
        title="The policy host does not lead to Mailward any more",
        clause="mta-sts.DOMAIN does not lead to Mailward any more",
        meaning=(
            "The record was right before. Senders that hold the policy go on with their copy until its max_age is "
            "over; if the MX hosts change meanwhile, they refuse mail. Its certificate cannot be renewed."
        ),
        severity=Severity.CRITICAL,
        steps=(
            _PAGE,
            "Ask each name server of the zone: `dig @SERVER mta-sts.DOMAIN`",
            "Publish the record of the Set-up page again, or, if the domain leaves, follow RFC 8461 section 8.3.",
        ),
        section="RFC 8461 section 3.3",
        attack="Whoever leads this name elsewhere and gets a certificate for it can serve another policy.",
    ),
    Explanation(
        code=POLICY_ID,
        title="The id in DNS is not that of the policy",
        clause="the record at _mta-sts.DOMAIN does not have the id of the policy that is served",
        meaning=(
            "The record is missing, has an old id, or is not the same on every name server. Senders that hold an older "
            "policy do not learn of the present one: where an MX host is new, they refuse it."
        ),
        severity=Severity.WARNING,
        steps=(
            _PAGE,
            "Ask each name server of the zone, since one may lag behind: `dig @SERVER _mta-sts.DOMAIN TXT`",
            "Publish the record of the Set-up page, or make it a CNAME to Mailward once and for all.",
        ),
        section="RFC 8461 section 3.1",
    ),
    Explanation(
        code=REPORTS,
        title="Reports do not come to Mailward any more",
        clause="the record at _smtp._tls.DOMAIN does not name Mailward any more",
        meaning="The record was right before. Failures of delivery are not reported here, so nobody hears of them.",
        severity=Severity.WARNING,
        steps=(_PAGE, "Publish the record of the Set-up page again."),
        section="RFC 8460 section 3",
    ),
    Explanation(
        code=SERVERS,
        title="The name servers of the domain do not tell the same",
        clause="the name servers of DOMAIN do not tell the same",
        meaning=(
            "Some name other MX hosts than the others do, or know no policy host. A sender sees what the server that "
            "it happens to ask says: an MX host that the policy does not name is refused under enforce."
        ),
        severity=Severity.WARNING,
        steps=(
            "See on the domain's page, under Set-up, what each server says.",
            "Ask each: `dig @SERVER DOMAIN MX` and `dig @SERVER mta-sts.DOMAIN`",
            (
                "Compare their serials, `dig @SERVER DOMAIN SOA`: one that lags has lost its zone transfer, or its "
                "notifications. One that is no server of the zone any more leaves its NS records, at the registrar too."
            ),
        ),
        section="RFC 1034 section 4.3.5",
        attack="One server alone that names an MX host nobody of yours has added may have been taken over.",
    ),
    Explanation(
        code=SIGNATURES,
        title="The DNSSEC signatures of the MX records are not renewed",
        clause="the DNSSEC signatures of DOMAIN are not renewed",
        meaning=(
            "They should have been renewed by now. Once they have ended, every sender that validates gets no answer "
            "about DOMAIN, and keeps all mail back until they are renewed; in the end it returns it."
        ),
        severity=Severity.CRITICAL,
        steps=(
            "Ask each name server of the zone: `dig @SERVER DOMAIN MX +dnssec`",
            (
                "See why the signer does not sign: its log, its disk, its keys, its clock. Where one server shows "
                "the old signatures, it gets no transfers."
            ),
            "Sign by hand: `knotc zone-sign DOMAIN`, `rndc sign DOMAIN`, or `pdnsutil rectify-zone DOMAIN`",
        ),
        section="RFC 4035 section 5.3.1",
    ),
)

UPKEEP: Mapping[str, Explanation] = {entry.code: entry for entry in ENTRIES}
