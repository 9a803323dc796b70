"""The entries for the result types of RFC 8460 section 4.3, one each, and one for all others."""

from collections.abc import Mapping

from mailward.core.explain.explanation import Explanation, Severity
from mailward.core.tlsrpt.results import ResultType

SEE_CERTIFICATE = (
    "See what the server presents: `openssl s_client -starttls smtp -connect MX_HOST:25 -servername MX_HOST "
    "-verify_hostname MX_HOST -verify_return_error </dev/null`"
)
SEE_DATES = (
    "Read names and dates: `openssl s_client -starttls smtp -connect MX_HOST:25 -servername MX_HOST "
    "</dev/null | openssl x509 -noout -subject -issuer -dates -ext subjectAltName`"
)
SEE_POLICY = "Fetch the policy as senders do: `curl -sSi https://mta-sts.DOMAIN/.well-known/mta-sts.txt`"
SEE_TLSA = "Ask for the records: `dig +dnssec TLSA _25._tcp.MX_HOST`; the answer must carry the flag `ad`"
SEE_KEY = (
    "Compute what `3 1 1` must say: `openssl s_client -starttls smtp -connect MX_HOST:25 -servername MX_HOST "
    "</dev/null | openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum`"
)
EVERY_ADDRESS = "Test every address of MX_HOST, IPv6 too: often one server behind the name differs."
ONE_NETWORK = (
    "If only one network sees this and your server is right from elsewhere, somebody on that network's path "
    "may be answering in its place. Under `mode: enforce` nothing is delivered there: keep it in force."
)

_ENTRIES = (
    Explanation(
        code=ResultType.STARTTLS_NOT_SUPPORTED,
        title="No STARTTLS offered",
        clause="MX_HOST did not offer STARTTLS",
        meaning=(
            "The sender connected to MX_HOST, and the server did not offer encryption. Senders that "
            "follow your policy do not deliver without it."
        ),
        severity=Severity.CRITICAL,
        steps=(
            "Look at what it offers: `openssl s_client -starttls smtp -connect MX_HOST:25 </dev/null`",
            (
                "Switch STARTTLS on where it is missing (Postfix: `smtpd_tls_security_level = may` with a "
                "certificate) and restart the server."
            ),
            (
                "Look for a firewall that changes SMTP (Cisco calls it ESMTP inspection or fixup) and switch "
                "that off."
            ),
            EVERY_ADDRESS,
        ),
        section="RFC 8460 section 4.3.1",
        attack=(
            "Taking STARTTLS out of the server's answer is the classic attack on mail. If your server "
            "offers it from everywhere else and one network says it does not, take that for an attack on "
            "the path. Under `mode: enforce` nothing is delivered there: keep it in force."
        ),
    ),
    Explanation(
        code=ResultType.CERTIFICATE_HOST_MISMATCH,
        title="Certificate for another name",
        clause="the certificate of MX_HOST is for another name",
        meaning=(
            "The certificate that MX_HOST presents does not hold the name that the policy asks for. Some "
            "senders (Postfix) say the same when the certificate's names are not among the policy's `mx` "
            "lines."
        ),
        severity=Severity.CRITICAL,
        steps=(
            SEE_DATES,
            (
                "Get a certificate with MX_HOST among its subject alternative names. The common name does "
                "not count."
            ),
            "Check that MX_HOST stands in the policy, and that the MX record names the host you mean.",
            EVERY_ADDRESS,
        ),
        section="RFC 8460 section 4.3.1; RFC 8461 section 4.2",
        attack=ONE_NETWORK,
    ),
    Explanation(
        code=ResultType.CERTIFICATE_EXPIRED,
        title="Certificate expired",
        clause="the certificate of MX_HOST has expired",
        meaning=(
            "MX_HOST presents a certificate that is out of date. Senders that follow your policy do not "
            "deliver until it is renewed."
        ),
        severity=Severity.CRITICAL,
        steps=(
            SEE_DATES,
            (
                "Renew it (certbot: `certbot renew`), then reload the mail server: the old one often lives "
                "on in memory."
            ),
            (
                "Make renewal reload the server by itself (certbot: a script in "
                "`/etc/letsencrypt/renewal-hooks/deploy/`)."
            ),
            EVERY_ADDRESS,
        ),
        section="RFC 8460 section 4.3.1; RFC 8461 section 4.2",
        attack=(
            "An attacker may replay an old certificate. If yours is in date at every address, treat it "
            "as that."
        ),
    ),
    Explanation(
        code=ResultType.CERTIFICATE_NOT_TRUSTED,
        title="Certificate not trusted",
        clause="the certificate of MX_HOST is not trusted",
        meaning=(
            "The sender cannot trace the certificate of MX_HOST to an authority it trusts: it is "
            "self-signed, from an unknown authority, or sent without its intermediate certificate."
        ),
        severity=Severity.CRITICAL,
        steps=(
            SEE_CERTIFICATE,
            (
                "Serve the full chain: the file must hold your certificate and then the intermediate "
                "(`fullchain.pem`, not `cert.pem`)."
            ),
            "If it is self-signed, get one from a public authority such as Let's Encrypt.",
            EVERY_ADDRESS,
        ),
        section="RFC 8460 section 4.3.1; RFC 8461 section 4.2",
        attack=ONE_NETWORK,
    ),
    Explanation(
        code=ResultType.VALIDATION_FAILURE,
        title="Secure connection failed",
        clause="no acceptable TLS connection to MX_HOST came about",
        meaning=(
            "Something went wrong on the way to a secure connection with MX_HOST, and no other result "
            "type fits. The reason code, if there is one, says more."
        ),
        severity=Severity.CRITICAL,
        steps=(
            "Read the reason code beside this failure: it is in the sender's own words.",
            SEE_CERTIFICATE,
            "Check that MX_HOST is covered by an `mx` line of the policy.",
            "Look into the mail server's log at the time of the report, for the sending address.",
        ),
        section="RFC 8460 section 4.3.1",
        attack=ONE_NETWORK,
    ),
    Explanation(
        code=ResultType.TLSA_INVALID,
        title="TLSA records unusable",
        clause="none of the TLSA records of MX_HOST could be used",
        meaning=(
            "MX_HOST has DANE records, and the sender could use none of them: wrong usage, length or "
            "type. It then encrypts without knowing to whom, or does not deliver."
        ),
        severity=Severity.WARNING,
        steps=(
            SEE_TLSA,
            (
                "Use `3 1 1`, or `2 0 1` with the authority's certificate in the chain. Usages 0 and 1 do "
                "not count for mail."
            ),
            SEE_KEY,
            "Publish the right record beside the old one, wait one TTL, then remove the old one.",
        ),
        section="RFC 8460 section 4.3.2.1; RFC 7672 section 3.1",
    ),
    Explanation(
        code=ResultType.DNSSEC_INVALID,
        title="DNSSEC answers invalid",
        clause="DNSSEC fails for MX_HOST",
        meaning=(
            "The sender's resolver got no valid signed answer about MX_HOST. A sender that uses DANE "
            "treats the host as unreachable."
        ),
        severity=Severity.CRITICAL,
        steps=(
            (
                "Ask with validation: `delv MX_HOST A` and `delv _25._tcp.MX_HOST TLSA`; both must say fully "
                "validated."
            ),
            (
                "Look for expired signatures and for a DS record at the parent that no longer fits: `dig "
                "+dnssec +cd SOA MX_HOST`."
            ),
            "Ask every name server of the zone. Each must answer questions for TLSA, also where none exists.",
            "Sign the zone again, or correct the DS record at the registrar.",
        ),
        section="RFC 8460 section 4.3.2.1; RFC 7672 section 2.1.2",
        attack=(
            "Answers that are blocked or forged look the same. If every name server answers rightly from "
            "elsewhere, the fault lies between that sender and the DNS."
        ),
    ),
    Explanation(
        code=ResultType.DANE_REQUIRED,
        title="Sender insists on DANE",
        clause="a sender insists on DANE, and MX_HOST has no signed TLSA record",
        meaning=(
            "This sender delivers to you only with DANE, and found no TLSA record signed with DNSSEC for "
            "MX_HOST."
        ),
        severity=Severity.CRITICAL,
        steps=(
            SEE_TLSA,
            "If you mean to offer DANE: sign the zone of MX_HOST with DNSSEC, then publish a record `3 1 1`.",
            SEE_KEY,
            "If you do not: ask the sender (contact in the report) to take your domain off its list.",
        ),
        section="RFC 8460 section 4.3.2.1; RFC 7672 section 6",
    ),
    Explanation(
        code=ResultType.STS_POLICY_FETCH_ERROR,
        title="Policy could not be fetched",
        clause="the policy at mta-sts.DOMAIN could not be fetched",
        meaning=(
            "Your DNS record announces an MTA-STS policy, and the sender could not get it from "
            "mta-sts.DOMAIN. New senders deliver without its protection; those that know an older copy "
            "go on using that."
        ),
        severity=Severity.WARNING,
        steps=(
            SEE_POLICY,
            "The answer must be status 200, without a redirect, as `text/plain`, within a minute.",
            "Try IPv4 and IPv6 (`curl -4`, `curl -6`): an address that does not answer is enough.",
            "Let no bot filter or login page stand in front of it: senders are programs.",
        ),
        section="RFC 8460 section 4.3.2.2; RFC 8461 section 3.3",
        attack=(
            "Whoever can block the policy for long enough makes senders forget it. A long `max_age` and "
            "a working policy host are the protection."
        ),
    ),
    Explanation(
        code=ResultType.STS_POLICY_INVALID,
        title="Policy not valid",
        clause="the policy of DOMAIN is not valid",
        meaning=(
            "The sender fetched the MTA-STS policy of DOMAIN and could not read it by the rules. It is "
            "as if there were none."
        ),
        severity=Severity.WARNING,
        steps=(
            SEE_POLICY,
            "Check it: `curl -sS https://mta-sts.DOMAIN/.well-known/mta-sts.txt | mailward policy lint -`",
            (
                "It needs `version: STSv1`, `mode:`, `max_age:` and one `mx:` line for each host, and no "
                "blank lines."
            ),
            "After the correction, give the TXT record at `_mta-sts.DOMAIN` a new `id`.",
        ),
        section="RFC 8460 section 4.3.2.2; RFC 8461 section 3.2",
    ),
    Explanation(
        code=ResultType.STS_WEBPKI_INVALID,
        title="Policy host's certificate not accepted",
        clause="the certificate of mta-sts.DOMAIN was not accepted",
        meaning=(
            "The web server at mta-sts.DOMAIN presents a certificate that the sender does not accept: "
            "wrong name, out of date, or not from a trusted authority. The policy is then not used."
        ),
        severity=Severity.WARNING,
        steps=(
            (
                "See what it presents: `openssl s_client -connect mta-sts.DOMAIN:443 -servername "
                "mta-sts.DOMAIN -verify_hostname mta-sts.DOMAIN -verify_return_error </dev/null`"
            ),
            "Get a certificate for the name mta-sts.DOMAIN itself; your provider's own name does not count.",
            "Serve the full chain, with the intermediate certificate.",
            "Renew in time, and by itself.",
        ),
        section="RFC 8460 section 4.3.2.2; RFC 8461 section 3.3",
        attack=(
            "If your certificate is right from everywhere else, somebody may be posing as your policy "
            "host towards that sender. It did not believe the impostor."
        ),
    ),
)

RESULTS: Mapping[str, Explanation] = {entry.code: entry for entry in _ENTRIES}

UNKNOWN = Explanation(
    code="unknown",
    title="Failure of an unknown type",
    clause="a failure of a type that no standard knows",
    meaning=(
        "The sender gives this failure a name that is not in the standard, or none at all. Some sessions "
        "failed; why, only the sender can say."
    ),
    severity=Severity.WARNING,
    steps=(
        "Read the sender's own word for it and the reason code beside it.",
        SEE_CERTIFICATE,
        SEE_POLICY,
        "If both are fine, write to the contact named in the report.",
    ),
    section="RFC 8460 section 4.3",
)
