"""The policy host: address, TLS, HTTP (RFC 8461 section 3.3)."""

from collections.abc import Iterator

from mailward.core.certificate import Certificate, read_chain
from mailward.core.check.codes import Code
from mailward.core.check.facts import UNOBSERVED, Fetch
from mailward.core.check.finding import Finding
from mailward.core.check.rules.record import announces
from mailward.core.check.view import View, expires_soon, explain_trust
from mailward.core.explain.explanation import Severity

_CODES = {
    "address-refused": Code.POLICY_HOST_UNREACHABLE,
    "connect": Code.POLICY_HOST_UNREACHABLE,
    "connect-timeout": Code.POLICY_HOST_UNREACHABLE,
    "connection": Code.POLICY_HOST_UNREACHABLE,
    "timeout": Code.POLICY_HOST_UNREACHABLE,
    "tls": Code.POLICY_HOST_TLS,
    "redirect": Code.POLICY_REDIRECTED,
    "media-type": Code.POLICY_MEDIA_TYPE,
    "too-large": Code.POLICY_TOO_LARGE,
}


def policy_host(view: View) -> Iterator[Finding]:
    if not announces(view):
        return
    host = view.facts.policy_host
    if not host.v4.was_found and not host.v6.was_found:
        yield _without_address(view)
        return
    seen = [fetch for fetch in host.fetches if fetch.error != UNOBSERVED]
    served = [fetch for fetch in seen if fetch.has_body]
    other = host.as_others
    for fetch in seen:
        if not fetch.has_body:
            code = Code.POLICY_HOST_DIFFERS if served else _code(fetch)
            if other is not None and other.has_body and other.address == fetch.address:
                evidence = (*_evidence(fetch), f"{other.address}, {other.client}: the policy")
                yield Finding(Code.POLICY_CLIENT_DIFFERS, Severity.WARNING, host.name, evidence)
            else:
                yield Finding(code, Severity.WARNING, host.name, _evidence(fetch))
        elif other is not None and other.address == fetch.address and other.error != UNOBSERVED:
            yield from _compare(host.name, fetch, other)
    if len({fetch.body for fetch in served}) > 1:
        evidence = tuple(f"{fetch.address}: {fetch.body[:500]!r}" for fetch in served)
        yield Finding(Code.POLICY_BODIES_DIFFER, Severity.WARNING, host.name, evidence)
    for fetch in served:
        yield from _expiry(view, fetch)


def _compare(name: str, fetch: Fetch, other: Fetch) -> Iterator[Finding]:
    if other.has_body and other.body == fetch.body:
        return
    if other.has_body:
        seen = (f": {fetch.body[:500]!r}", f": {other.body[:500]!r}")
    else:
        seen = (f": a policy of {len(fetch.body)} bytes", f": {other.message}")
    evidence = (f"{fetch.address}{seen[0]}", f"{other.address}, {other.client}{seen[1]}")
    # that a client without User-Agent is turned away shows a filter, and not yet that senders are
    severity = Severity.WARNING if other.has_body else Severity.NOTICE
    yield Finding(Code.POLICY_CLIENT_DIFFERS, severity, name, evidence)


def _without_address(view: View) -> Finding:
    host = view.facts.policy_host
    evidence = tuple(
        f"{lookup.kind} {lookup.name}: {lookup.reason or lookup.found}" for lookup in (host.v4, host.v6)
    )
    if host.v4.has_failed or host.v6.has_failed:
        return Finding(Code.STS_POLICY_FETCH_ERROR, Severity.WARNING, host.name, evidence)
    if host.chain:
        evidence = (f"{host.name} CNAME {' CNAME '.join(host.chain)}", *evidence)
        return Finding(Code.POLICY_HOST_DANGLING, Severity.WARNING, host.name, evidence)
    return Finding(Code.POLICY_HOST_NOT_IN_DNS, Severity.WARNING, host.name, evidence)


def _code(fetch: Fetch) -> Code:
    if fetch.error == "status" and fetch.status is not None:
        if fetch.status in (404, 410):
            return Code.POLICY_NOT_THERE
        return Code.POLICY_SERVER_ERROR if fetch.status >= 500 else Code.POLICY_FORBIDDEN
    if fetch.error.startswith("certificate-"):
        return Code.STS_WEBPKI_INVALID
    return _CODES.get(fetch.error, Code.STS_POLICY_FETCH_ERROR)


def _evidence(fetch: Fetch) -> tuple[str, ...]:
    lines = [f"{fetch.address}: {fetch.message}"]
    if fetch.error.startswith("certificate-") and fetch.tls is not None:
        if trust := explain_trust(fetch.tls):
            lines.append(f"{fetch.address}: {trust}")
        lines += [f"{fetch.address}: {_describe(each)}" for each in read_chain(fetch.tls.chain[:1])]
    return tuple(lines)


def _describe(certificate: Certificate) -> str:
    names = ", ".join(certificate.names[:10]) or "no name"
    dates = f"{certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}"
    return f"certificate for {names}, issued by {certificate.issuer}, {dates}"


def _expiry(view: View, fetch: Fetch) -> Iterator[Finding]:
    for certificate in read_chain(fetch.tls.chain[:1] if fetch.tls else ()):
        if expires_soon(certificate, view.facts.at, view.lead_days):
            evidence = f"{fetch.address}: the certificate ends {certificate.not_after:%Y-%m-%d %H:%M} UTC"
            yield Finding(
                Code.POLICY_CERTIFICATE_EXPIRES, Severity.WARNING, view.facts.policy_host.name, (evidence,)
            )
