"""Error classes: codes by the component and stage where a fault is, as measurement studies count them.

The studies of MTA-STS (Ashiq, Fiebig, Chung, IMC 2025) count faults of the record, of the policy host, of the
policy and between policy and MX hosts; those of DANE (Lee et al., USENIX Security 2020 and 2022) TLSA records
that cannot be validated and that do not fit the certificate. A policy host fails at the first stage that fails:
DNS, TCP, TLS, HTTP.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from mailward.core.check.codes import Code


class ErrorClass(StrEnum):
    MX = "mx"
    """MX records or hosts: mail cannot be delivered, or not everywhere."""
    RECORD = "sts-record"
    POLICY_DNS = "policy-dns"
    POLICY_TCP = "policy-tcp"
    POLICY_TLS = "policy-tls"
    POLICY_HTTP = "policy-http"
    POLICY_SYNTAX = "policy-syntax"
    COVER = "mx-not-in-policy"
    MX_TLS = "mx-tls"
    """STARTTLS missing or broken at an MX host."""
    MX_CERTIFICATE = "mx-certificate"
    DANE_UNPROVED = "dane-unproved"
    """TLSA records that DNSSEC does not prove, or whose lookup fails."""
    DANE_MISMATCH = "dane-mismatch"
    """TLSA records that cannot be used, or do not fit the certificate."""
    TLSRPT = "tlsrpt"


MTA_STS = (
    ErrorClass.RECORD,
    ErrorClass.POLICY_DNS,
    ErrorClass.POLICY_TCP,
    ErrorClass.POLICY_TLS,
    ErrorClass.POLICY_HTTP,
    ErrorClass.POLICY_SYNTAX,
    ErrorClass.COVER,
)
"""Of a domain that means to have a policy."""

TITLES: Mapping[ErrorClass, str] = {
    ErrorClass.MX: "MX records lead nowhere, wholly or partly",
    ErrorClass.RECORD: "MTA-STS record: several, version, id, syntax",
    ErrorClass.POLICY_DNS: "Policy host: not in DNS",
    ErrorClass.POLICY_TCP: "Policy host: no connection",
    ErrorClass.POLICY_TLS: "Policy host: TLS or certificate",
    ErrorClass.POLICY_HTTP: "Policy host: HTTP (status, redirect, media type)",
    ErrorClass.POLICY_SYNTAX: "Policy: syntax",
    ErrorClass.COVER: "An MX host is not in the policy",
    ErrorClass.MX_TLS: "MX host: STARTTLS missing or broken",
    ErrorClass.MX_CERTIFICATE: "MX host: certificate",
    ErrorClass.DANE_UNPROVED: "TLSA records that DNSSEC does not prove",
    ErrorClass.DANE_MISMATCH: "TLSA records unusable or not fitting",
    ErrorClass.TLSRPT: "TLSRPT record or where reports go",
}

_CODES: Mapping[ErrorClass, tuple[Code, ...]] = {
    ErrorClass.MX: (
        Code.MX_LOOKUP_FAILED,
        Code.MX_NOWHERE,
        Code.MX_HOST_UNRESOLVABLE,
        Code.MX_HOST_ADDRESS,
        Code.MX_HOST_SYNTAX,
        Code.MX_NULL_MISUSED,
        Code.MX_HOST_PRIVATE,
        Code.MX_CONNECTION_REFUSED,
    ),
    ErrorClass.RECORD: (
        Code.STS_RECORD_SEVERAL,
        Code.STS_RECORD_VERSION,
        Code.STS_RECORD_ID,
        Code.STS_RECORD_SYNTAX,
        Code.STS_RECORD_DANGLING,
        Code.STS_RECORD_LOOKUP_FAILED,
    ),
    ErrorClass.POLICY_DNS: (Code.POLICY_HOST_NOT_IN_DNS, Code.POLICY_HOST_DANGLING),
    ErrorClass.POLICY_TCP: (Code.POLICY_HOST_UNREACHABLE,),
    ErrorClass.POLICY_TLS: (Code.POLICY_HOST_TLS, Code.STS_WEBPKI_INVALID),
    ErrorClass.POLICY_HTTP: (
        Code.POLICY_NOT_THERE,
        Code.POLICY_REDIRECTED,
        Code.POLICY_FORBIDDEN,
        Code.POLICY_SERVER_ERROR,
        Code.POLICY_MEDIA_TYPE,
        Code.POLICY_TOO_LARGE,
        Code.STS_POLICY_FETCH_ERROR,
    ),
    ErrorClass.POLICY_SYNTAX: (Code.STS_POLICY_INVALID,),
    ErrorClass.COVER: (Code.MX_NOT_IN_POLICY,),
    ErrorClass.MX_TLS: (
        Code.STARTTLS_NOT_SUPPORTED,
        Code.STARTTLS_REFUSED,
        Code.TLS_HANDSHAKE,
        Code.TLS_VERSION,
    ),
    ErrorClass.MX_CERTIFICATE: (
        Code.CERTIFICATE_EXPIRED,
        Code.CERTIFICATE_NOT_YET_VALID,
        Code.CERTIFICATE_HOST_MISMATCH,
        Code.CERTIFICATE_COMMON_NAME_ONLY,
        Code.CERTIFICATE_SELF_SIGNED,
        Code.CERTIFICATE_NOT_TRUSTED,
        Code.CERTIFICATE_CHAIN_INCOMPLETE,
        Code.CERTIFICATE_TOO_WEAK,
    ),
    ErrorClass.DANE_UNPROVED: (Code.DNSSEC_INVALID, Code.TLSA_INSECURE),
    ErrorClass.DANE_MISMATCH: (
        Code.TLSA_MISMATCH,
        Code.TLSA_TRUST_ANCHOR_MISSING,
        Code.TLSA_NAME_MISMATCH,
        Code.TLSA_CHAIN_EXPIRED,
        Code.TLSA_COMBINATION_STALE,
        Code.TLSA_INVALID,
    ),
    ErrorClass.TLSRPT: (
        Code.TLSRPT_SEVERAL,
        Code.TLSRPT_SYNTAX,
        Code.TLSRPT_TARGET_TAKES_NO_MAIL,
        Code.TLSRPT_TARGET_DEAD,
    ),
}
_CLASSES = {code: each for each, codes in _CODES.items() for code in codes}


def classify(codes: Iterable[Code]) -> tuple[ErrorClass, ...]:
    """In the order of ErrorClass; codes that are no error (a policy in testing) have no class."""
    found = {_CLASSES[code] for code in codes if code in _CLASSES}
    return tuple(each for each in ErrorClass if each in found) if found else ()
