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
