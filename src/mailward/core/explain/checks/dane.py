"""The entries for DANE, where no report could say the same."""

from mailward.core.check.codes import Code
from mailward.core.explain.explanation import Explanation, Severity
from mailward.core.explain.results import EVERY_ADDRESS, SEE_KEY, SEE_TLSA

ENTRIES = (
    Explanation(
        code=Code.TLSA_TRUST_ANCHOR_MISSING,
        title="Trust anchor not in the chain",
        clause="MX_HOST does not send the certificate that its TLSA records name",
        meaning=(
            "The TLSA records of MX_HOST name an authority's certificate (usage 2), and the chain it presents does not "
            "lead there. Either the authority changed its intermediate, or it is not sent."
        ),
        severity=Severity.CRITICAL,
        steps=(
            SEE_TLSA,
            "Send the full chain, with the certificate that the record names.",
            (
                "If the authority has a new intermediate, publish its record beside the old one; "
                "better, use `3 1 1`."
            ),
            SEE_KEY,
        ),
        section="RFC 7672 section 3.1.2",
    ),
    Explanation(
        code=Code.TLSA_NAME_MISMATCH,
        title="TLSA fits, the name does not",
        clause="the certificate of MX_HOST fits its TLSA records but not its name",
        meaning=(
            "With usage 2 the certificate must also name MX_HOST or DOMAIN, and it names neither. "
            "Senders that use DANE do not deliver."
        ),
        severity=Severity.CRITICAL,
        steps=(
            "Get a certificate that names MX_HOST, or publish `3 1 1`, for which names do not matter.",
            SEE_KEY,
        ),
        section="RFC 7672 section 3.2.2",
    ),
    Explanation(
        code=Code.TLSA_CHAIN_EXPIRED,
        title="TLSA fits, the date does not",
        clause="the chain of MX_HOST fits its TLSA records and is out of date",
        meaning=(
            "With usage 2 the dates of the certificates count, and one is out of date. Senders that "
            "use DANE do not deliver."
        ),
        severity=Severity.CRITICAL,
        steps=("Renew the certificate and reload the mail server.", "With `3 1 1`, dates do not matter."),
        section="RFC 7672 section 3.1.2",
    ),
    Explanation(
        code=Code.TLSA_COMBINATION_STALE,
        title="Some TLSA records fit no more",
        clause="some TLSA records of MX_HOST no longer fit",
        meaning=(
            "Of one combination of usage, selector and type, no record fits the certificate, though another "
            "does. Senders look at the strongest digest only, so some of them do not deliver."
        ),
        severity=Severity.WARNING,
        steps=(
            SEE_TLSA,
            "Keep to one combination, `3 1 1`, and remove records of the others.",
            SEE_KEY,
            EVERY_ADDRESS,
        ),
        section="RFC 7671 section 8; RFC 7671 section 9",
    ),
    Explanation(
        code=Code.TLSA_SOME_UNUSABLE,
        title="Some TLSA records cannot be used",
        clause="some TLSA records of MX_HOST cannot be used",
        meaning=(
            "Some records have a usage, selector, type or length that SMTP senders do not use. The "
            "others protect MX_HOST."
        ),
        severity=Severity.NOTICE,
        steps=(SEE_TLSA, "Remove what is not usage 2 or 3 with a digest of the right length."),
        section="RFC 7672 section 3.1.3",
    ),
    Explanation(
        code=Code.TLSA_MISPLACED,
        title="TLSA records at the wrong name",
        clause="the TLSA records stand below DOMAIN, not below the MX host",
        meaning=(
            "Senders ask for TLSA records below the name of the MX host. There are none, and those below the mail "
            "domain are not read by anybody: DANE is not in force."
        ),
        severity=Severity.WARNING,
        steps=(
            "Move them to `_25._tcp.MX_HOST` of each MX host; that zone must be signed.",
            "Compare with the certificate: `mailward check DOMAIN` does it as soon as they are there.",
        ),
        section="RFC 7672 section 2.2.3",
    ),
    Explanation(
        code=Code.TLSA_INSECURE,
        title="TLSA records without DNSSEC",
        clause="the TLSA records of MX_HOST are not secured by DNSSEC",
        meaning=(
            "The records, or the address of MX_HOST, are in a zone that is not signed. No sender uses"
            " such TLSA records."
        ),
        severity=Severity.WARNING,
        steps=(
            "Sign the zone of MX_HOST, and publish the DS record at the registrar.",
            SEE_TLSA,
            "If you cannot sign it, remove the records: they protect nothing.",
        ),
        section="RFC 7672 section 2.2.2",
    ),
    Explanation(
        code=Code.DANE_MX_INSECURE,
        title="MX records without DNSSEC",
        clause="the MX records of DOMAIN are not secured by DNSSEC",
        meaning=(
            "The MX hosts have TLSA records, and the MX records that name them can be forged, since "
            "the zone of DOMAIN is not signed."
        ),
        severity=Severity.WARNING,
        steps=(
            "Sign the zone of DOMAIN, and publish the DS record at the registrar.",
            "Ask with validation: `delv DOMAIN MX`; it must say fully validated.",
        ),
        section="RFC 7672 section 2.2.1",
    ),
    Explanation(
        code=Code.DANE_PARTIAL,
        title="MX host without TLSA records",
        clause="MX_HOST has no TLSA records, other MX hosts have",
        meaning=(
            "An attacker who blocks the hosts with TLSA records makes senders deliver to MX_HOST, "
            "where nothing is proved."
        ),
        severity=Severity.WARNING,
        steps=("Publish TLSA records for MX_HOST too.", SEE_KEY),
        section="RFC 7672 section 2.2.3",
    ),
)
