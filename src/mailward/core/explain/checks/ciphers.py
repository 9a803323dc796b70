"""The entries for weak cipher suites. Senders report none of them."""

from mailward.core.check.codes import Code
from mailward.core.explain.explanation import Explanation, Severity

_POSTFIX = (
    "To leave out all that are weak (Postfix): "
    "`smtpd_tls_exclude_ciphers = aNULL, eNULL, EXPORT, DES, 3DES, RC4, IDEA, kRSA`"
)
_MEDIUM = (
    "Postfix: set `smtpd_tls_ciphers = medium`, its default, and leave `tls_medium_cipherlist` as it comes."
)
_OLD = "If the software cannot be told to, it is old: update it."

ENTRIES = (
    Explanation(
        code=Code.CIPHER_NULL,
        title="Cipher suites without encryption",
        clause="MX_HOST accepts TLS without encryption",
        meaning=(
            "MX_HOST accepts suites that encrypt nothing. Mail of a sender that agrees to one goes over the wire in "
            "the clear, and both sides call it TLS."
        ),
        severity=Severity.WARNING,
        steps=(_MEDIUM, _POSTFIX),
        section="RFC 9325 section 4.1",
    ),
    Explanation(
        code=Code.CIPHER_EXPORT,
        title="Cipher suites that anybody can break",
        clause="MX_HOST accepts export-grade encryption",
        meaning=(
            "MX_HOST accepts suites with keys of 40 or 56 bits, which are read within hours. Flaws such as FREAK and "
            "Logjam made other servers choose them against their will."
        ),
        severity=Severity.WARNING,
        steps=(_POSTFIX, _OLD),
        section="RFC 9325 section 4.1",
    ),
    Explanation(
        code=Code.CIPHER_RC4,
        title="RC4 accepted",
        clause="MX_HOST accepts RC4",
        meaning="MX_HOST accepts RC4, forbidden since 2015: what it hides can be guessed from its output.",
        severity=Severity.WARNING,
        steps=(
            _POSTFIX,
            "GnuTLS (Exim on Debian): take `ARCFOUR-128` out of `tls_require_ciphers`.",
            "Senders that know nothing newer than RC4 then send in the clear; look into the log for any first.",
        ),
        section="RFC 7465 section 2",
    ),
    Explanation(
        code=Code.CIPHER_SMALL_BLOCKS,
        title="3DES accepted",
        clause="MX_HOST accepts 3DES or IDEA",
        meaning=(
            "MX_HOST accepts ciphers with blocks of 64 bits. They leak after gigabytes over one connection (Sweet32), "
            "which mail hardly ever sends."
        ),
        severity=Severity.NOTICE,
        steps=(
            _POSTFIX,
            "GnuTLS (Exim on Debian): take `3DES-CBC` out of `tls_require_ciphers`.",
            "If old senders need it, leave it: better than mail in the clear.",
        ),
        section="RFC 9325 section 4.1",
    ),
    Explanation(
        code=Code.CIPHER_ANONYMOUS,
        title="Cipher suites without certificate",
        clause="MX_HOST accepts TLS without showing a certificate",
        meaning=(
            "MX_HOST accepts suites in which it shows no certificate. Only senders that would not look at one ask for "
            "them; Postfix does both by default, and loses nothing by it."
        ),
        severity=Severity.NOTICE,
        steps=(
            "To leave them out (Postfix): `smtpd_tls_exclude_ciphers = aNULL`; senders then choose others.",
        ),
        section="RFC 5246 appendix F.1.1.1",
    ),
    Explanation(
        code=Code.CIPHER_NO_FORWARD_SECRECY,
        title="Cipher suites without forward secrecy",
        clause="MX_HOST accepts cipher suites without forward secrecy",
        meaning=(
            "With these suites, whoever gets the server's key one day can read what was recorded before. A warning "
            "where MX_HOST has no others; else senders of today choose better ones."
        ),
        severity=Severity.NOTICE,
        steps=(
            "Leave them out (Postfix: `smtpd_tls_exclude_ciphers = kRSA`; GnuTLS: `-RSA`).",
            "If nothing else is accepted, update the TLS library, and allow ECDHE.",
        ),
        section="RFC 9325 section 4.1; RFC 9325 section 7.3",
    ),
)
