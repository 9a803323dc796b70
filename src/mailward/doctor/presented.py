"""What a certificate that was presented to us says to those who check it."""

from collections.abc import Iterator
from datetime import timedelta

from mailward.core.certificate import Certificate, read_chain
from mailward.core.check.facts import Tls
from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor.subject import Subject
from mailward.net import clock

_DEVELOPMENT = "Mailward development CA"
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED, which the date says better


def judge(subject: Subject, host: str, where: str, tls: Tls) -> tuple[Certificate | None, list[Finding]]:
    """The leaf, and what is wrong with it for `host`; nothing: senders accept it."""
    chain = read_chain(tls.chain)
    if not chain:
        return None, [
            tell("certificate-name", f"{where} presents no certificate that can be read", _fix(host))
        ]
    return chain[0], list(_judge(subject, host, where, tls, chain[0]))


def _judge(subject: Subject, host: str, where: str, tls: Tls, leaf: Certificate) -> Iterator[Finding]:
    now = clock.now()
    if not leaf.names_host(host):
        names = ", ".join(leaf.names[:5]) or leaf.subject
        yield tell("certificate-name", f"{where} has a certificate for {names}, not for {host}", _fix(host))
    if leaf.not_after <= now:
        text = f"the certificate at {where} ended at {leaf.not_after:%Y-%m-%d %H:%M} UTC"
        yield tell("certificate-ended", text, _fix(host))
    elif _ends_soon(subject, leaf):
        text = f"the certificate at {where} ends at {leaf.not_after:%Y-%m-%d %H:%M} UTC"
        yield tell("certificate-ends", text, _fix(host))
    if is_development(leaf):
        if not subject.is_trial:
            text = f"{where} has a certificate of the development CA, which no sender trusts"
            yield tell("development-certificate", text, _fix(host))
        return
    errors = [error for error in tls.errors if error.number != _EXPIRED]
    if errors:
        text = f"the certificate at {where} is not trusted: {errors[0].text} (issuer: {leaf.issuer})"
        yield tell("certificate-untrusted", text, _fix(host))


def is_development(leaf: Certificate) -> bool:
    return _DEVELOPMENT in leaf.issuer


def _ends_soon(subject: Subject, leaf: Certificate) -> bool:
    left, life = leaf.not_after - clock.now(), leaf.not_after - leaf.not_before
    return left < timedelta(days=subject.settings.watch.certificate_days) and left < life / 3


def _fix(host: str) -> str:
    return f'put a trusted chain and its key into {host}.pem below <data>/certs, or [acme] directories = ["https://CA/directory"]'
