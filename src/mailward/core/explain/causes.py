"""The finer entries for what goes wrong at an MX host. `rules` says when each is chosen."""

from mailward.core.explain.explanation import Explanation, Severity
from mailward.core.explain.results import (
    EVERY_ADDRESS,
    ONE_NETWORK,
    SEE_CERTIFICATE,
    SEE_DATES,
    SEE_KEY,
    SEE_TLSA,
)

SECTION = "RFC 8460 section 4.3.1"

MX_NOT_IN_POLICY = Explanation(
    code="mx-not-in-policy",
    title="MX host not in the policy",
    clause="MX_HOST is not in the policy",
    meaning=(
        "The DNS sends mail for DOMAIN to MX_HOST, and no `mx` line of its policy covers that name. "
        "Senders that follow the policy do not deliver there."
    ),
    severity=Severity.CRITICAL,
    steps=(
        "Compare the two: `dig MX DOMAIN` and `curl -sS https://mta-sts.DOMAIN/.well-known/mta-sts.txt`",
        (
            "If MX_HOST is yours: add `mx: MX_HOST` to the policy, then give `_mta-sts.DOMAIN` a new `id`. A "
            "wildcard covers exactly one label."
        ),
        "If it is not: remove it from the MX records.",
    ),
    section="RFC 8461 section 4.1",
    attack=(
        "If MX_HOST is not among your MX records and never was, somebody forged the DNS answer for that "
        "sender. Under `mode: enforce` nothing is delivered there: keep it in force."
    ),
)
SELF_SIGNED = Explanation(
    code="certificate-self-signed",
    title="Certificate is self-signed",
    clause="the certificate of MX_HOST is self-signed",
    meaning=(
        "MX_HOST presents a certificate that no authority has signed. Senders that follow an MTA-STS "
        "policy do not accept it."
    ),
    severity=Severity.CRITICAL,
    steps=(
        SEE_CERTIFICATE,
        (
            "Get a certificate from a public authority such as Let's Encrypt, with MX_HOST among its names, "
            "and set it in the mail server."
        ),
        EVERY_ADDRESS,
    ),
    section="RFC 8460 section 4.3.1; RFC 8461 section 4.2",
    attack=ONE_NETWORK,
)
CHAIN_INCOMPLETE = Explanation(
    code="certificate-chain-incomplete",
    title="Issuer of the certificate not found",
    clause="the issuer of the certificate of MX_HOST is unknown",
    meaning=(
        "The sender cannot find who issued the certificate of MX_HOST. Mostly the server sends its "
        "certificate without the intermediate one."
    ),
    severity=Severity.CRITICAL,
    steps=(
        (
            "Count what it sends: `openssl s_client -starttls smtp -connect MX_HOST:25 -servername MX_HOST "
            "-showcerts </dev/null`; there should be two certificates or more."
        ),
        "Serve the full chain: certificate, then intermediate (`fullchain.pem`, not `cert.pem`), and reload.",
        "If the issuer is an authority of your own, get a certificate from a public one.",
        EVERY_ADDRESS,
    ),
    section="RFC 8460 section 4.3.1; RFC 8461 section 4.2",
    attack=ONE_NETWORK,
)
NOT_YET_VALID = Explanation(
    code="certificate-not-yet-valid",
    title="Certificate not valid yet",
    clause="the certificate of MX_HOST is not valid yet",
    meaning="The certificate of MX_HOST begins in the future. It was installed early, or a clock is wrong.",
    severity=Severity.CRITICAL,
    steps=(
        SEE_DATES,
        "Check the clock of the server that asked for the certificate: `timedatectl`",
        "Put the previous certificate back until the new one is valid, and reload.",
    ),
    section=SECTION,
)
REVOKED = Explanation(
    code="certificate-revoked",
    title="Certificate revoked",
    clause="the certificate of MX_HOST has been revoked",
    meaning="The authority has taken back the certificate of MX_HOST.",
    severity=Severity.CRITICAL,
    steps=(
        (
            "Make a new key and get a new certificate, for instance `certbot renew --force-renewal "
            "--new-key`, and reload."
        ),
        "Read the authority's mails: they say why. If the key leaked, find out how.",
    ),
    section=SECTION,
    attack="A revoked certificate that you replaced long ago may be a stolen one in use by somebody else.",
)
TOO_WEAK = Explanation(
    code="certificate-too-weak",
    title="Certificate too weak",
    clause="the certificate of MX_HOST is too weak",
    meaning="Key or signature of the certificate of MX_HOST are weaker than the sender accepts.",
    severity=Severity.CRITICAL,
    steps=(
        (
            "See both: `openssl s_client -starttls smtp -connect MX_HOST:25 -servername MX_HOST </dev/null | "
            "openssl x509 -noout -text | grep -E 'Public-Key|Signature Algorithm'`"
        ),
        "Get a new certificate with an ECDSA P-256 or RSA 2048-bit key and a SHA-256 signature.",
    ),
    section=SECTION,
)
TLSA_MISMATCH = Explanation(
    code="tlsa-mismatch",
    title="Certificate does not match TLSA",
    clause="the certificate of MX_HOST does not match its TLSA record",
    meaning=(
        "MX_HOST presents a certificate that its DANE records do not announce. Mostly the certificate "
        "was renewed with a new key and the DNS was not. Senders that use DANE do not deliver."
    ),
    severity=Severity.CRITICAL,
    steps=(
        SEE_TLSA,
        SEE_KEY,
        "Publish `3 1 1` with that value now, and remove the old record after one TTL.",
        (
            "Renew with the same key from now on (certbot: `--reuse-key`), or publish the next key before "
            "you use it."
        ),
        EVERY_ADDRESS,
    ),
    section="RFC 7672 section 3.1; RFC 7671 section 8",
    attack=(
        "DANE also catches certificates that an authority issued to the wrong person. If you changed "
        "nothing, look for strange certificates of MX_HOST in the public logs (crt.sh)."
    ),
)
STARTTLS_REFUSED = Explanation(
    code="starttls-refused",
    title="STARTTLS offered, then refused",
    clause="MX_HOST offers STARTTLS and then refuses it",
    meaning=(
        "MX_HOST says it can encrypt and answers the command with an error. Mostly it cannot read its "
        "certificate or key."
    ),
    severity=Severity.CRITICAL,
    steps=(
        "Try it: `openssl s_client -starttls smtp -connect MX_HOST:25 </dev/null`",
        (
            "Look into the mail server's log for the reason: wrong path, wrong rights, key and certificate "
            "that do not belong together."
        ),
        "Correct it and reload.",
        EVERY_ADDRESS,
    ),
    section="RFC 8460 section 4.3.1; RFC 3207 section 4",
    attack=(
        "An attacker on the path can forge this answer too. If only one network sees it, take it for that."
    ),
)
OLD_TLS = Explanation(
    code="tls-version",
    title="No TLS version in common",
    clause="MX_HOST and the sender have no TLS version in common",
    meaning="MX_HOST offers only TLS versions that the sender no longer accepts, mostly 1.0 or 1.1.",
    severity=Severity.CRITICAL,
    steps=(
        (
            "Try it: `openssl s_client -starttls smtp -connect MX_HOST:25 -tls1_2 </dev/null`, then with "
            "`-tls1_3`"
        ),
        "Allow TLS 1.2 and 1.3 (Postfix: `smtpd_tls_protocols = >=TLSv1.2`); update a server that cannot.",
        EVERY_ADDRESS,
    ),
    section="RFC 8461 section 7.2",
    attack=(
        "Forcing an old version is an attack of its own. If yours offers 1.2 or 1.3 from elsewhere, take "
        "it for that."
    ),
)
HANDSHAKE = Explanation(
    code="tls-handshake",
    title="TLS handshake failed",
    clause="the TLS handshake with MX_HOST failed",
    meaning=(
        "Sender and MX_HOST began to encrypt and did not get through: no common cipher, an alert, or the "
        "line was cut in between."
    ),
    severity=Severity.CRITICAL,
    steps=(
        "Try it: `openssl s_client -starttls smtp -connect MX_HOST:25 -servername MX_HOST </dev/null`",
        (
            "Allow TLS 1.2 and 1.3 with the standard ciphers; take home-made cipher lists out of the "
            "configuration."
        ),
        "The server must also answer without a server name, or with one it does not know.",
        "Look into the mail server's log at the time of the report, for the sending address.",
    ),
    section="RFC 8460 section 4.3.1; RFC 8461 section 7",
    attack=ONE_NETWORK,
)
LINE_BROKEN = Explanation(
    code="connection-broken",
    title="Connection broke",
    clause="the connection to MX_HOST broke",
    meaning=(
        "The sender did not reach MX_HOST, or lost the line. A few such failures are the weather of the "
        "Internet."
    ),
    severity=Severity.NOTICE,
    steps=(
        "Do nothing about single cases: the sender tries again.",
        "If there are many: test each address of MX_HOST, IPv6 too, with `nc -vz MX_HOST 25`.",
        "Look at load and connection limits of the server, and at firewalls that cut long sessions.",
    ),
    section="RFC 8460 section 4.3.4",
)
