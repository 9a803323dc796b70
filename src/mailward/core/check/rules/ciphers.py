"""Weak cipher suites that MX hosts accept (RFC 9325 section 4).

Modern senders do not choose them where there is better; they matter for what is left of old senders, and to whoever can
make two servers choose badly.
"""

from collections.abc import Iterator

from mailward.core.check.codes import Code
from mailward.core.check.facts import Ciphers
from mailward.core.check.finding import Finding
from mailward.core.check.view import View
from mailward.core.explain.explanation import Severity
from mailward.core.tls.suites import Weakness, weaknesses

_MAX_NAMES = 6
_CODES = {
    Weakness.NULL: (Code.CIPHER_NULL, Severity.WARNING),
    Weakness.EXPORT: (Code.CIPHER_EXPORT, Severity.WARNING),
    Weakness.RC4: (Code.CIPHER_RC4, Severity.WARNING),
    Weakness.SMALL_BLOCKS: (Code.CIPHER_SMALL_BLOCKS, Severity.NOTICE),
    Weakness.ANONYMOUS: (Code.CIPHER_ANONYMOUS, Severity.NOTICE),
    Weakness.NO_FORWARD_SECRECY: (Code.CIPHER_NO_FORWARD_SECRECY, Severity.NOTICE),
}


def ciphers(view: View) -> Iterator[Finding]:
    for host in view.hosts:
        for look in host.looks:
            seen = look.session.depth.ciphers if look.session.depth else None
            if seen is not None:
                for code, severity, evidence in _judge(seen):
                    told = f"{look.session.address} accepts {evidence}"
                    yield Finding(code, severity, host.name, (told,))


def _judge(seen: Ciphers) -> Iterator[tuple[Code, Severity, str]]:
    accepted = [(version, name) for version, names in seen.accepted for name in names]
    for weakness, (code, severity) in _CODES.items():
        weak = [(version, name) for version, name in accepted if weakness in weaknesses(name)]
        is_all = (
            weakness is Weakness.NO_FORWARD_SECRECY and len(weak) == len(accepted) and not seen.unfinished
        )
        if weak:
            evidence = f"nothing but {_name(weak)}" if is_all else _name(weak)
            yield code, Severity.WARNING if is_all else severity, evidence


def _name(suites: list[tuple[str, str]]) -> str:
    """Each once, with the versions that have it."""
    versions: dict[str, list[str]] = {}
    for version, name in suites:
        versions.setdefault(name, []).append(version)
    shown = [f"{name} ({', '.join(found)})" for name, found in versions.items()]
    more = f" and {len(shown) - _MAX_NAMES} more" if len(shown) > _MAX_NAMES else ""
    return ", ".join(shown[:_MAX_NAMES]) + more
