"""The entries for MX records and the addresses behind them."""

from mailward.core.check.codes import Code
from mailward.core.explain.explanation import Explanation, Severity

ENTRIES = (
    Explanation(
        code=Code.MX_LOOKUP_FAILED,
        title="MX records cannot be looked up",
        clause="the MX records of DOMAIN cannot be looked up",
        meaning=(
            "The DNS gives no usable answer about the MX records of DOMAIN. No sender knows where to deliver: mail "
            "waits, and bounces after days."
        ),
        severity=Severity.CRITICAL,
        steps=(
            (
                "Ask with and without validation: `delv DOMAIN MX`, then `dig +cd DOMAIN MX`. If only"
                " the first fails, DNSSEC is broken."
            ),
            "Ask each name server: `dig +short NS DOMAIN`, then `dig @SERVER DOMAIN MX`.",
            (
                "Mend the zone or its signatures; at the registrar, compare the DS record with `dig "
                "DNSKEY DOMAIN`."
            ),
        ),
        section="RFC 5321 section 5.1; RFC 7672 section 2.1.2",
        attack=(
            "Answers that somebody blocks or forges on the way to this resolver look the same. Ask "
            "from elsewhere too."
        ),
    ),
    Explanation(
        code=Code.MX_NULL,
        title="Domain takes no mail",
        clause="DOMAIN takes no mail",
        meaning=(
            "The null MX record `0 .` says that DOMAIN takes no mail. Senders bounce at once, as they should."
        ),
        severity=Severity.NOTICE,
        steps=("If that is meant, do nothing.", "If not, replace it by the MX records of your mail servers."),
        section="RFC 7505 section 3",
    ),
    Explanation(
        code=Code.MX_NULL_MISUSED,
        title="Null MX that is none",
        clause="the MX records of DOMAIN hold `.` beside others, or with a preference other than 0",
        meaning=(
            "A null MX says that DOMAIN takes no mail, and must be the only MX record, with preference 0. Senders "
            "differ in what they make of this one: some pass over it, some bounce the mail."
        ),
        severity=Severity.WARNING,
        steps=(
            "If DOMAIN takes mail, remove the record that names `.`",
            "If it takes none, publish this one record and no other: `DOMAIN. MX 0 .`",
        ),
        section="RFC 7505 section 3",
    ),
    Explanation(
        code=Code.MX_IMPLICIT,
        title="No MX record",
        clause="DOMAIN has no MX record",
        meaning=(
            "DOMAIN has an address and no MX record, so senders deliver to that address. Often that "
            "is only the web server."
        ),
        severity=Severity.NOTICE,
        steps=(
            "If the domain takes mail, publish an MX record that names the mail server.",
            "If it does not, publish a null MX: `DOMAIN. MX 0 .`",
        ),
        section="RFC 5321 section 5.1",
    ),
    Explanation(
        code=Code.MX_NOWHERE,
        title="No MX host has an address",
        clause="no MX host of DOMAIN has an address",
        meaning=(
            "None of the hosts that take mail for DOMAIN has an address in the DNS. No mail can be delivered."
        ),
        severity=Severity.CRITICAL,
        steps=(
            "Look at them: `dig +short DOMAIN MX`, then `dig HOST A` and `dig HOST AAAA` for each.",
            "Correct the names in the MX records, or create the address records.",
        ),
        section="RFC 5321 section 5.1",
    ),
    Explanation(
        code=Code.MX_HOST_UNRESOLVABLE,
        title="MX host has no address",
        clause="MX_HOST has no address",
        meaning=(
            "The DNS has no address for MX_HOST. Senders pass it over; a spare server that nobody can"
            " reach is none."
        ),
        severity=Severity.WARNING,
        steps=(
            "Ask for it: `dig MX_HOST A`, then `dig MX_HOST AAAA`",
            "Create the address record, or take the host out of the MX records of DOMAIN.",
        ),
        section="RFC 5321 section 5.1",
        attack=(
            "If the domain of MX_HOST is free to register, whoever registers it takes your mail. "
            "Remove it at once."
        ),
    ),
    Explanation(
        code=Code.MX_HOST_CNAME,
        title="MX host is an alias",
        clause="MX_HOST is an alias (CNAME)",
        meaning=(
            "An MX record must name a host with addresses of its own, and MX_HOST is a CNAME. Senders differ "
            "in which of the two names they compare with certificate and policy."
        ),
        severity=Severity.WARNING,
        steps=(
            "See where it leads: `dig MX_HOST A`",
            "Put the name at the end of the chain into the MX record, the policy and the certificate.",
        ),
        section="RFC 5321 section 5.1; RFC 2181 section 10.3",
    ),
    Explanation(
        code=Code.MX_HOST_ADDRESS,
        title="MX record holds an address",
        clause="an MX record holds an IP address instead of a name",
        meaning=(
            "An MX record must hold a host name. What looks like an address is taken for a name that "
            "does not exist."
        ),
        severity=Severity.WARNING,
        steps=("Give the mail server a name with an address record, and put that name into the MX record.",),
        section="RFC 5321 section 5.1",
    ),
    Explanation(
        code=Code.MX_HOST_SYNTAX,
        title="Name that no mail server may have",
        clause="MX_HOST is not a name that a mail server may have",
        meaning=(
            "Labels of a host name are letters, digits and inner hyphens. No authority issues a certificate for "
            "MX_HOST and no line of a policy can hold it, so that senders that enforce a policy do not deliver there."
        ),
        severity=Severity.WARNING,
        steps=(
            "Give the mail server another name, with address records and a certificate.",
            "Put that name into the MX record and the policy.",
        ),
        section="RFC 5321 section 2.3.5",
    ),
    Explanation(
        code=Code.MX_HOST_PRIVATE,
        title="MX host has a private address",
        clause="MX_HOST has an address that the Internet cannot reach",
        meaning=(
            "MX_HOST has a private, loopback or reserved address. Senders elsewhere reach nothing "
            "there, or a machine of their own."
        ),
        severity=Severity.WARNING,
        steps=(
            "Ask for its addresses: `dig MX_HOST A`, then `dig MX_HOST AAAA`",
            "Remove the private address from the public DNS.",
        ),
        section="RFC 5321 section 5.1",
    ),
    Explanation(
        code=Code.MX_DUPLICATE,
        title="MX host listed twice",
        clause="MX_HOST stands in two MX records",
        meaning="The same host stands in several MX records. Senders try it twice and gain nothing.",
        severity=Severity.NOTICE,
        steps=("Remove all but one of the records.",),
        section="RFC 5321 section 5.1",
    ),
    Explanation(
        code=Code.MX_CONNECTION_REFUSED,
        title="MX host refuses connections",
        clause="an address of MX_HOST refuses connections",
        meaning=(
            "Nobody listens at port 25 of an address of MX_HOST. Senders lose time there, and mail "
            "where it is the only one."
        ),
        severity=Severity.WARNING,
        steps=(
            "Try each address: `nc -vz ADDRESS 25`",
            (
                "Let the mail server listen there, IPv6 too (Postfix: `inet_protocols = all`), or "
                "remove the address."
            ),
        ),
        section="RFC 5321 section 5.1; RFC 8461 section 8.4",
    ),
)
