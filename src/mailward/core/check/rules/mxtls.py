"""STARTTLS and certificates at the MX hosts (RFC 8461 section 4.2, RFC 3207), every address of them."""

from collections.abc import Iterator

from mailward.core.certificate import Certificate
from mailward.core.check.codes import Code
from mailward.core.check.facts import Reach, Tls, TrustError
from mailward.core.check.finding import Finding
from mailward.core.check.view import EXPIRED, NOT_YET_VALID, HostView, Look, View, expires_soon
from mailward.core.dane.judge import HostState
from mailward.core.dane.tlsa import DANE_EE
from mailward.core.explain.explanation import Severity
from mailward.core.mtasts.policy import Mode

# X509_V_ERR_... of OpenSSL
_SELF_SIGNED = 18
_NO_ISSUER = (2, 20, 21, 27)
_TOO_WEAK = (66, 67, 68)
_OLD_VERSIONS = ("TLSv1", "TLSv1.1")
# not "wrong version number": so OpenSSL calls what is no TLS at all
_OLD_TLS = ("alert protocol version", "unsupported protocol", "version too low")


def starttls(view: View) -> Iterator[Finding]:
    for host in view.hosts:
        wants_tls = host.dane in (HostState.USABLE, HostState.UNUSABLE)  # RFC 7672 §2.2
        severity = Severity.CRITICAL if wants_tls else view.weight(without_policy=Severity.WARNING)
        for look in host.looks:
            session = look.session
            if not session.offers_starttls:
                code = Code.STARTTLS_NOT_SUPPORTED
                evidence = f"{session.address}: EHLO offers {', '.join(session.extensions) or 'nothing'}"
            elif session.starttls_reply:
                code, evidence = Code.STARTTLS_REFUSED, f"{session.address}: {session.starttls_reply}"
            elif session.tls_error:
                is_old = any(words in session.tls_error for words in _OLD_TLS)
                code = Code.TLS_VERSION if is_old else Code.TLS_HANDSHAKE
                evidence = f"{session.address}: {session.tls_error}"
            else:
                continue
            yield Finding(code, severity, host.name, (evidence,))


def certificates(view: View) -> Iterator[Finding]:
    for host in view.hosts:
        if not _counts(view, host):
            continue
        severity = view.weight(without_policy=Severity.NOTICE)
        for look in host.looks:
            if look.session.tls is None:
                continue
            if look.certificate is None:
                reason = f"{look.session.address}: it presents no certificate that can be read"
                yield Finding(Code.CERTIFICATE_NOT_TRUSTED, severity, host.name, (reason,))
                continue
            for code in _faults(look, look.certificate, look.session.tls):
                evidence = (_describe(look, look.certificate), *_errors(look, look.session.tls))
                yield Finding(code, severity, host.name, evidence)
            yield from _weaknesses(view, look)


def depth(view: View) -> Iterator[Finding]:
    """What is only asked for on demand."""
    for host in view.hosts:
        for look in host.looks:
            session, seen = look.session, look.session.depth
            if seen is None:
                continue
            old = [
                f"{version} with {cipher}" for version, cipher in seen.versions if version in _OLD_VERSIONS
            ]
            if old:
                evidence = f"{session.address} accepts {', '.join(old)}"
                yield Finding(Code.TLS_OLD_VERSIONS, Severity.NOTICE, host.name, (evidence,))
            if seen.accepts_injected:
                evidence = (
                    f"{session.address} answers over TLS to a command that was sent in the clear before"
                )
                yield Finding(Code.STARTTLS_INJECTION, Severity.WARNING, host.name, (evidence,))


def addresses(view: View) -> Iterator[Finding]:
    for host in view.hosts:
        sessions = host.host.sessions
        refusing = [session for session in sessions if session.reach is Reach.REFUSED]
        if refusing:
            evidence = tuple(f"{session.address}: {session.reason}" for session in refusing)
            yield Finding(Code.MX_CONNECTION_REFUSED, Severity.WARNING, host.name, evidence)
        shown = {look.session.address: _summary(look) for look in host.looks}
        if len(set(shown.values())) > 1:
            evidence = tuple(f"{address}: {summary}" for address, summary in shown.items())
            yield Finding(Code.MX_ADDRESSES_DIFFER, Severity.WARNING, host.name, evidence)


def _counts(view: View, host: HostView) -> bool:
    """Whether senders look at more than the TLSA records."""
    return view.mode in (Mode.ENFORCE, Mode.TESTING) or host.dane is not HostState.USABLE


def _faults(look: Look, certificate: Certificate, tls: Tls) -> Iterator[Code]:
    dated = {error.number for error in tls.errors if error.depth}
    if certificate.not_after < look.now or EXPIRED in dated:
        yield Code.CERTIFICATE_EXPIRED
    if certificate.not_before > look.now or NOT_YET_VALID in dated:
        yield Code.CERTIFICATE_NOT_YET_VALID
    others = {error.number for error in tls.errors} - {EXPIRED, NOT_YET_VALID}
    if others:
        yield _trust_code(others, look)
    if not look.names_host:
        alone = not certificate.names and certificate.common_name == look.host.name
        yield Code.CERTIFICATE_COMMON_NAME_ONLY if alone else Code.CERTIFICATE_HOST_MISMATCH


def _trust_code(numbers: set[int], look: Look) -> Code:
    if _SELF_SIGNED in numbers:
        return Code.CERTIFICATE_SELF_SIGNED
    if numbers & set(_NO_ISSUER):
        # a public authority's certificate says where its issuer is to be had: only the link was not sent
        last = look.chain[-1]
        is_public = last.has_issuer_url and not last.is_self_issued
        return Code.CERTIFICATE_CHAIN_INCOMPLETE if is_public else Code.CERTIFICATE_NOT_TRUSTED
    return Code.CERTIFICATE_TOO_WEAK if numbers & set(_TOO_WEAK) else Code.CERTIFICATE_NOT_TRUSTED


def _weaknesses(view: View, look: Look) -> Iterator[Finding]:
    """What is no reason to refuse mail, or not yet."""
    name, address = look.host.name, look.session.address
    severity = Severity.WARNING if view.mode in (Mode.ENFORCE, Mode.TESTING) else Severity.NOTICE
    for certificate in look.chain:
        if certificate.weakness:
            evidence = f"{address}: {certificate.weakness} in the certificate of {certificate.subject}"
            yield Finding(Code.CERTIFICATE_TOO_WEAK, severity, name, (evidence,))
    by_key_alone = look.dane.record is not None and look.dane.record.usage == DANE_EE
    if expires_soon(look.chain[0], look.now, view.lead_days) and (view.patterns or not by_key_alone):
        evidence = f"{address}: the certificate ends {look.chain[0].not_after:%Y-%m-%d %H:%M} UTC"
        yield Finding(Code.CERTIFICATE_EXPIRES_SOON, severity, name, (evidence,))
    pairs = zip(look.chain, look.chain[1:], strict=False)
    if look.is_trusted and any(not child.is_issued_by(parent) for child, parent in pairs):
        evidence = f"{address}: " + " then ".join(certificate.subject for certificate in look.chain)
        yield Finding(Code.CERTIFICATE_CHAIN_ORDER, Severity.NOTICE, name, (evidence,))


def _describe(look: Look, certificate: Certificate) -> str:
    names = (
        ", ".join(certificate.names[:10]) or f"no DNS name (common name {certificate.common_name or 'empty'})"
    )
    return (
        f"{look.session.address}: certificate for {names}, issued by {certificate.issuer}, "
        f"{certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}, {certificate.key}"
    )


def _errors(look: Look, tls: Tls) -> tuple[str, ...]:
    return tuple(f"{look.session.address}: {_say(error)}" for error in tls.errors)


def _say(error: TrustError) -> str:
    return f"OpenSSL {error.number} at certificate {error.depth}: {error.text}"


def _summary(look: Look) -> str:
    """What matters to a sender, in a few words: two addresses should say the same."""
    session = look.session
    if not session.offers_starttls:
        return "no STARTTLS"
    if session.tls is None:
        return "STARTTLS fails"
    parts = ["TLS", "trusted" if look.is_trusted else "not trusted"]
    parts.append("names the host" if look.names_host else "does not name the host")
    if look.records:
        parts.append(f"TLSA {look.dane.match}")
    return ", ".join(parts)
