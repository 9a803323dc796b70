"""Whether the policy host's authority may issue its next certificate (RFC 8659)."""

import re
from collections.abc import Iterator

from mailward.core.certificate import Certificate, read_chain
from mailward.core.check.codes import Code
from mailward.core.check.finding import Finding
from mailward.core.check.view import View
from mailward.core.explain.explanation import Severity

_RECORD = re.compile(r'\d{1,3} (?P<tag>[A-Za-z0-9]{1,15}) "?(?P<value>[^"]*)"?', re.ASCII)
# by the organisation in the issuer's name; an authority that is not here is not judged
_DOMAINS = {
    "Let's Encrypt": {"letsencrypt.org"},
    "ZeroSSL": {"sectigo.com", "zerossl.com"},
    "Sectigo Limited": {"sectigo.com", "comodo.com", "comodoca.com", "usertrust.com", "trust-provider.com"},
    "DigiCert Inc": {
        "digicert.com",
        "digicert.ne.jp",
        "symantec.com",
        "thawte.com",
        "geotrust.com",
        "rapidssl.com",
    },
    "Google Trust Services": {"pki.goog"},
    "Amazon": {"amazon.com", "amazontrust.com", "awstrust.com", "amazonaws.com"},
    "GlobalSign nv-sa": {"globalsign.com"},
}


def caa(view: View) -> Iterator[Finding]:
    lookup = view.facts.policy_host.caa
    if lookup is None or not lookup.was_found:
        return
    allowed = _issuers(lookup.records)
    if not allowed:
        return  # no issue property: any authority may (RFC 8659 section 4.2)
    evidence = tuple(f"{lookup.name} CAA {record}" for record in lookup.records[:10])
    for fetch in view.facts.policy_host.fetches:
        for certificate in read_chain(fetch.tls.chain[:1] if fetch.tls and fetch.has_body else ()):
            own = _own_domains(certificate)
            if allowed == {""} or (own and not allowed & own):
                told = f"{fetch.address}: certificate issued by {certificate.issuer}"
                name = view.facts.policy_host.name
                yield Finding(Code.POLICY_CAA_FORBIDS, Severity.WARNING, name, (*evidence, told))


def _issuers(records: tuple[str, ...]) -> set[str]:
    """The domains of the `issue` properties; an empty one lets nobody issue."""
    matches = [_RECORD.fullmatch(record) for record in records]
    values = [match["value"] for match in matches if match is not None and match["tag"].lower() == "issue"]
    return {value.partition(";")[0].strip().lower() for value in values}


def _own_domains(certificate: Certificate) -> set[str]:
    for organisation, domains in _DOMAINS.items():
        if f"O={organisation}" in certificate.issuer.replace("\\", ""):
            return domains
    return set()
