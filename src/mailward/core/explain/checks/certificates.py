"""The entries for certificates of MX hosts, where no report could say the same."""

from mailward.core.check.codes import Code
from mailward.core.explain.explanation import Explanation, Severity
from mailward.core.explain.results import EVERY_ADDRESS, SEE_DATES

ENTRIES = (
    Explanation(
        code=Code.CERTIFICATE_COMMON_NAME_ONLY,
        title="Name in the certificate's old place only",
        clause="the certificate of MX_HOST has its name only as common name",
        meaning=(
            "The certificate names MX_HOST as common name and has no subject alternative name. "
            "Senders look at the latter alone."
        ),
        severity=Severity.CRITICAL,
        steps=(
            SEE_DATES,
            (
                "Get a certificate with MX_HOST among its subject alternative names; every public "
                "authority does that today."
            ),
            EVERY_ADDRESS,
        ),
        section="RFC 8461 section 4.2",
    ),
    Explanation(
        code=Code.CERTIFICATE_CHAIN_ORDER,
        title="Certificates in the wrong order",
        clause="MX_HOST sends its certificates in the wrong order",
        meaning=(
            "Each certificate should be followed by that of its issuer. Most senders sort them; some "
            "old ones give up."
        ),
        severity=Severity.NOTICE,
        steps=("Write the file anew: the server's certificate, then each issuer in turn, without the root.",),
        section="RFC 5246 section 7.4.2",
    ),
    Explanation(
        code=Code.CERTIFICATE_EXPIRES_SOON,
        title="Certificate ends soon",
        clause="the certificate of MX_HOST ends soon",
        meaning="Renewal is late. From that day on, senders that follow your policy do not deliver to MX_HOST.",
        severity=Severity.WARNING,
        steps=(
            SEE_DATES,
            (
                "Renew it now (certbot: `certbot renew`), and reload the mail server: the old one "
                "often lives on in memory."
            ),
            EVERY_ADDRESS,
        ),
        section="RFC 8461 section 4.2",
    ),
    Explanation(
        code=Code.TLS_OLD_VERSIONS,
        title="Old TLS versions accepted",
        clause="MX_HOST accepts TLS 1.0 or 1.1",
        meaning="MX_HOST also accepts TLS versions that are broken. Mail with modern senders does not use them.",
        severity=Severity.NOTICE,
        steps=(
            "Switch them off (Postfix: `smtpd_tls_protocols = >=TLSv1.2`).",
            "If you still get mail from servers that know nothing newer, leave them on: else it comes in the clear.",
        ),
        section="RFC 8996 section 4; RFC 8996 section 5",
    ),
    Explanation(
        code=Code.STARTTLS_INJECTION,
        title="Commands can be slipped in before TLS",
        clause="MX_HOST carries out commands that were sent before TLS",
        meaning=(
            "What an attacker on the path puts behind STARTTLS in the clear, MX_HOST carries out as if it had "
            "come over TLS. Parts of messages and passwords can be stolen that way."
        ),
        severity=Severity.WARNING,
        steps=(
            "Update the mail server: this has been known since 2011 and mended nearly everywhere.",
            "Look at proxies and virus filters in front of it: they often are the ones at fault.",
        ),
        section="RFC 3207 section 4.2",
        attack="The flaw is the server's own; using it needs an attacker on the path.",
    ),
    Explanation(
        code=Code.MX_ADDRESSES_DIFFER,
        title="Addresses of an MX host differ",
        clause="the addresses of MX_HOST do not behave alike",
        meaning=(
            "What one address of MX_HOST offers, another does not. Mail gets through or waits, as "
            "chance has it."
        ),
        severity=Severity.WARNING,
        steps=(
            "Compare the addresses in the evidence.",
            "Give all of them the same configuration, and reload each.",
        ),
        section="RFC 8461 section 8.4",
    ),
)
