"""Which finer entry a failure gets: chosen by result type, policy type and the sender's reason code.

A reason code is free text: OpenSSL's names (`X509_V_ERR_CERT_HAS_EXPIRED`), sentences of Go's or Postfix's
TLS code, or words that an MTA made up. `RULES` is read from the top and the first that fits counts.
"""

import re
from dataclasses import dataclass

from mailward.core.explain import causes, policyhost
from mailward.core.explain.explanation import Explanation
from mailward.core.explain.results import RESULTS
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import PolicyType

_MX_TYPES = frozenset({ResultType.CERTIFICATE_NOT_TRUSTED, ResultType.VALIDATION_FAILURE})
_CHECKED = _MX_TYPES | {ResultType.CERTIFICATE_HOST_MISMATCH, ResultType.CERTIFICATE_EXPIRED}
_FAILED = frozenset({ResultType.VALIDATION_FAILURE})
_FETCH = frozenset({ResultType.STS_POLICY_FETCH_ERROR})
_STARTTLS = frozenset({ResultType.STARTTLS_NOT_SUPPORTED})


@dataclass(frozen=True, slots=True)
class Rule:
    """Chooses `entry` for these result types where the reason code fits; None fits any, none included."""

    types: frozenset[ResultType]
    pattern: re.Pattern[str] | None
    entry: Explanation
    policy_type: PolicyType | None = None

    def fits(self, result_type: str, policy_type: str | None, reason: str) -> bool:
        return (
            result_type in self.types
            and (self.policy_type is None or self.policy_type == policy_type)
            and (self.pattern is None or self.pattern.search(reason) is not None)
        )


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.ASCII)


_EXPIRED = _words(
    r"expired"
)  # X509_V_ERR_CERT_HAS_EXPIRED; "certificate has expired or is not yet valid" (Go)
_NOT_YET = _words(r"^(?!.*expired).*not[ _-]yet[ _-]valid")
_NAME = _words(
    r"hostname[ _-]?mismatch|certificate is valid for|not valid for|name mismatch|does ?n[o']t match host"
)
_BROKEN = _words(
    r"tim(?:ed?[ _-]?)out|connection (?:was )?(?:refused|reset|lost|closed)|unreachable|no route"
)

RULES = (
    # mox: the only MTA with a name of its own for it, under validation-failure
    Rule(
        _CHECKED, _words(r"mx[ _-]?mismatch|mx .*not (?:in|listed|covered|allowed)"), causes.MX_NOT_IN_POLICY
    ),
    Rule(
        _CHECKED,
        _words(r"dane[ _-]?no[ _-]?match|tlsa.*mismatch|no (?:matching )?tlsa.*match"),
        causes.TLSA_MISMATCH,
    ),
    Rule(
        _FAILED,
        _words(r"all[ _-](?:tlsa[ _-]records[ _-]unusable|unusable[ _-]records)"),
        RESULTS["tlsa-invalid"],
    ),
    Rule(_FAILED, _words(r"dnssec|bogus"), RESULTS["dnssec-invalid"]),
    Rule(_STARTTLS, _words(r"\b4[57]4\b|\b454|refus|temporar"), causes.STARTTLS_REFUSED),
    Rule(_CHECKED, _NOT_YET, causes.NOT_YET_VALID),
    Rule(_CHECKED, _words(r"revoked"), causes.REVOKED),
    Rule(_MX_TYPES, _EXPIRED, RESULTS["certificate-expired"]),
    Rule(_MX_TYPES, _NAME, RESULTS["certificate-host-mismatch"]),
    Rule(_MX_TYPES, _words(r"(?:too|md)[ _-](?:small|weak|short)|insecure algorithm"), causes.TOO_WEAK),
    Rule(
        _FAILED,
        _words(r"protocol[ _-]version|unsupported[ _-]protocol|wrong version|version too low"),
        causes.OLD_TLS,
    ),
    # DANE knows no authorities: whatever is "not trusted" there is not what TLSA announces (Postfix)
    Rule(_MX_TYPES - _FAILED, None, causes.TLSA_MISMATCH, PolicyType.TLSA),
    Rule(_MX_TYPES, _words(r"self[ _-]?signed"), causes.SELF_SIGNED),
    Rule(
        _MX_TYPES,
        _words(r"(?:get|find).*issuer|unknown (?:authority|ca|issuer)|verify.*leaf"),
        causes.CHAIN_INCOMPLETE,
    ),
    Rule(_FAILED, _BROKEN, causes.LINE_BROKEN),
    Rule(_FAILED, _words(r"handshake|tls-remote-|\balert\b|no shared cipher|\beof\b"), causes.HANDSHAKE),
    # Stalwart and others send a fetch error for a certificate that they do not accept
    Rule(_FETCH, _words(r"certificate|x509|self[ _-]?signed|issuer"), RESULTS["sts-webpki-invalid"]),
    Rule(_FETCH, _words(r"content[ _-]?type|media[ _-]?type"), policyhost.POLICY_MEDIA_TYPE),
    Rule(
        _FETCH,
        _words(r"no such host|nxdomain|servfail|name resolution|not known|\bdns\b"),
        policyhost.POLICY_NO_ADDRESS,
    ),
    Rule(_FETCH, _words(r"redirect|(?:code|status|http)\D{0,5}30\d\b"), policyhost.POLICY_REDIRECT),
    Rule(_FETCH, _words(r"not found|(?:code|status|http)\D{0,5}4(?:04|10)\b"), policyhost.POLICY_MISSING),
    Rule(_FETCH, _words(r"forbidden|(?:code|status|http)\D{0,5}4\d\d\b"), policyhost.POLICY_FORBIDDEN),
    Rule(_FETCH, _words(r"(?:code|status|http)\D{0,5}5\d\d\b"), policyhost.POLICY_SERVER_ERROR),
    Rule(_FETCH, _BROKEN, policyhost.POLICY_UNREACHABLE),
)
"""From the special to the general."""
