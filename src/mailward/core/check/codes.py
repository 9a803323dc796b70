"""The codes of findings, stable; and the result type that senders report for each (RFC 8460 section 4.3).

Where a sender's report can tell of the same fault, the code is that of core.explain.catalogue: one fault, one name.
"""

from collections.abc import Mapping
from enum import StrEnum

from mailward.core.tlsrpt.results import ResultType


class Code(StrEnum):
    # the MX records
    MX_LOOKUP_FAILED = "mx-lookup-failed"
    MX_NULL = "mx-null"
    MX_NULL_MISUSED = "mx-null-misused"
    MX_IMPLICIT = "mx-implicit"
    MX_NOWHERE = "mx-nowhere"
    MX_HOST_UNRESOLVABLE = "mx-host-unresolvable"
    MX_HOST_CNAME = "mx-host-cname"
    MX_HOST_ADDRESS = "mx-host-address"
    MX_HOST_SYNTAX = "mx-host-syntax"
    MX_HOST_PRIVATE = "mx-host-private"
    MX_DUPLICATE = "mx-duplicate"
    # the record at _mta-sts
    STS_ABSENT = "sts-absent"
    STS_RECORD_MISSING = "sts-record-missing"
    STS_RECORD_MISPLACED = "sts-record-misplaced"
    STS_RECORD_SEVERAL = "sts-record-several"
    STS_RECORD_OTHER_TEXT = "sts-record-other-text"
    STS_RECORD_VERSION = "sts-record-version"
    STS_RECORD_ID = "sts-record-id"
    STS_RECORD_SYNTAX = "sts-record-syntax"
    STS_RECORD_DANGLING = "sts-record-dangling"
    STS_RECORD_LOOKUP_FAILED = "sts-record-lookup-failed"
    STS_ID_UNCHANGED = "sts-id-unchanged"
    STS_ID_BEFORE_POLICY = "sts-id-before-policy"
    STS_ID_CHANGED_ALONE = "sts-id-changed-alone"
    # the policy host
    POLICY_HOST_NOT_IN_DNS = "policy-host-not-in-dns"
    POLICY_HOST_DANGLING = "policy-host-dangling"
    POLICY_HOST_UNREACHABLE = "policy-host-unreachable"
    POLICY_HOST_DIFFERS = "policy-host-differs"
    POLICY_HOST_TLS = "policy-host-tls"
    POLICY_BODIES_DIFFER = "policy-bodies-differ"
    POLICY_CLIENT_DIFFERS = "policy-client-differs"
    POLICY_NOT_THERE = "policy-not-there"
    POLICY_REDIRECTED = "policy-redirected"
    POLICY_FORBIDDEN = "policy-forbidden"
    POLICY_SERVER_ERROR = "policy-server-error"
    POLICY_MEDIA_TYPE = "policy-media-type"
    POLICY_TOO_LARGE = "policy-too-large"
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"
    POLICY_CERTIFICATE_EXPIRES = "policy-certificate-expires"
    POLICY_CAA_FORBIDS = "policy-caa-forbids"
    # the text of the policy
    STS_POLICY_INVALID = "sts-policy-invalid"
    POLICY_MAX_AGE_SHORT = "policy-max-age-short"
    POLICY_MAX_AGE_HIGH = "policy-max-age-high"
    POLICY_DUPLICATE_FIELD = "policy-duplicate-field"
    POLICY_UNKNOWN_FIELD = "policy-unknown-field"
    POLICY_PATTERN_ODD = "policy-pattern-odd"
    POLICY_TESTING = "policy-testing"
    POLICY_NONE = "policy-none"
    # which MX hosts the policy covers
    MX_NOT_IN_POLICY = "mx-not-in-policy"
    POLICY_PATTERN_UNUSED = "policy-pattern-unused"
    MX_NOT_IN_OLD_POLICY = "mx-not-in-old-policy"
    POLICY_REMOVED = "policy-removed"
    # TLS at the MX hosts
    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    STARTTLS_REFUSED = "starttls-refused"
    TLS_HANDSHAKE = "tls-handshake"
    TLS_VERSION = "tls-version"
    TLS_OLD_VERSIONS = "tls-old-versions"
    CIPHER_NULL = "cipher-null"
    CIPHER_EXPORT = "cipher-export"
    CIPHER_RC4 = "cipher-rc4"
    CIPHER_SMALL_BLOCKS = "cipher-small-blocks"
    CIPHER_ANONYMOUS = "cipher-anonymous"
    CIPHER_NO_FORWARD_SECRECY = "cipher-no-forward-secrecy"
    STARTTLS_INJECTION = "starttls-injection"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_YET_VALID = "certificate-not-yet-valid"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_COMMON_NAME_ONLY = "certificate-common-name-only"
    CERTIFICATE_SELF_SIGNED = "certificate-self-signed"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    CERTIFICATE_CHAIN_INCOMPLETE = "certificate-chain-incomplete"
    CERTIFICATE_CHAIN_ORDER = "certificate-chain-order"
    CERTIFICATE_TOO_WEAK = "certificate-too-weak"
    CERTIFICATE_EXPIRES_SOON = "certificate-expires-soon"
    CERTIFICATE_ISSUER_CHANGED = "certificate-issuer-changed"
    MX_ADDRESSES_DIFFER = "mx-addresses-differ"
    MX_CONNECTION_REFUSED = "mx-connection-refused"
    # DANE
    DNSSEC_INVALID = "dnssec-invalid"
    TLSA_MISMATCH = "tlsa-mismatch"
    TLSA_TRUST_ANCHOR_MISSING = "tlsa-trust-anchor-missing"
    TLSA_NAME_MISMATCH = "tlsa-name-mismatch"
    TLSA_CHAIN_EXPIRED = "tlsa-chain-expired"
    TLSA_COMBINATION_STALE = "tlsa-combination-stale"
    TLSA_NEXT_RENEWAL = "tlsa-next-renewal"
    TLSA_INVALID = "tlsa-invalid"
    TLSA_SOME_UNUSABLE = "tlsa-some-unusable"
    TLSA_MISPLACED = "tlsa-misplaced"
    TLSA_INSECURE = "tlsa-insecure"
    DANE_MX_INSECURE = "dane-mx-insecure"
    DANE_PARTIAL = "dane-partial"
    # the record at _smtp._tls
    TLSRPT_MISSING = "tlsrpt-missing"
    TLSRPT_RECORD_MISPLACED = "tlsrpt-record-misplaced"
    TLSRPT_SEVERAL = "tlsrpt-several"
    TLSRPT_SYNTAX = "tlsrpt-syntax"
    TLSRPT_LOOKUP_FAILED = "tlsrpt-lookup-failed"
    TLSRPT_TARGET_TAKES_NO_MAIL = "tlsrpt-target-takes-no-mail"
    TLSRPT_TARGET_DEAD = "tlsrpt-target-dead"
    TLSRPT_TARGET_REFUSES = "tlsrpt-target-refuses"


_FETCH = (
    Code.POLICY_HOST_NOT_IN_DNS,
    Code.POLICY_HOST_DANGLING,
    Code.POLICY_HOST_UNREACHABLE,
    Code.POLICY_HOST_DIFFERS,
    Code.POLICY_HOST_TLS,
    Code.POLICY_CLIENT_DIFFERS,
    Code.POLICY_NOT_THERE,
    Code.POLICY_REDIRECTED,
    Code.POLICY_FORBIDDEN,
    Code.POLICY_SERVER_ERROR,
    Code.POLICY_MEDIA_TYPE,
    Code.POLICY_TOO_LARGE,
    Code.STS_POLICY_FETCH_ERROR,
    Code.STS_RECORD_LOOKUP_FAILED,
)

RESULT_TYPES: Mapping[Code, ResultType] = {
    **dict.fromkeys(_FETCH, ResultType.STS_POLICY_FETCH_ERROR),
    Code.STS_WEBPKI_INVALID: ResultType.STS_WEBPKI_INVALID,
    Code.STS_POLICY_INVALID: ResultType.STS_POLICY_INVALID,
    # none exists for it: mox sends this with a reason of its own, Postfix certificate-host-mismatch
    Code.MX_NOT_IN_POLICY: ResultType.VALIDATION_FAILURE,
    Code.MX_NOT_IN_OLD_POLICY: ResultType.VALIDATION_FAILURE,
    Code.STARTTLS_NOT_SUPPORTED: ResultType.STARTTLS_NOT_SUPPORTED,
    Code.STARTTLS_REFUSED: ResultType.STARTTLS_NOT_SUPPORTED,
    Code.TLS_HANDSHAKE: ResultType.VALIDATION_FAILURE,
    Code.TLS_VERSION: ResultType.VALIDATION_FAILURE,
    Code.CERTIFICATE_EXPIRED: ResultType.CERTIFICATE_EXPIRED,
    Code.CERTIFICATE_NOT_YET_VALID: ResultType.VALIDATION_FAILURE,
    Code.CERTIFICATE_HOST_MISMATCH: ResultType.CERTIFICATE_HOST_MISMATCH,
    Code.CERTIFICATE_COMMON_NAME_ONLY: ResultType.CERTIFICATE_HOST_MISMATCH,
    Code.CERTIFICATE_SELF_SIGNED: ResultType.CERTIFICATE_NOT_TRUSTED,
    Code.CERTIFICATE_NOT_TRUSTED: ResultType.CERTIFICATE_NOT_TRUSTED,
    Code.CERTIFICATE_CHAIN_INCOMPLETE: ResultType.CERTIFICATE_NOT_TRUSTED,
    Code.CERTIFICATE_TOO_WEAK: ResultType.VALIDATION_FAILURE,
    Code.DNSSEC_INVALID: ResultType.DNSSEC_INVALID,
    Code.TLSA_MISMATCH: ResultType.VALIDATION_FAILURE,
    Code.TLSA_TRUST_ANCHOR_MISSING: ResultType.CERTIFICATE_NOT_TRUSTED,
    Code.TLSA_NAME_MISMATCH: ResultType.CERTIFICATE_HOST_MISMATCH,
    Code.TLSA_CHAIN_EXPIRED: ResultType.CERTIFICATE_EXPIRED,
    Code.TLSA_COMBINATION_STALE: ResultType.VALIDATION_FAILURE,
    Code.TLSA_INVALID: ResultType.TLSA_INVALID,
}
"""No entry: senders report nothing for it."""
