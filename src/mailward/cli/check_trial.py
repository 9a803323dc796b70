"""The options of `mailward check --report-test`: who sends the test report, signed by whom, through which relay."""

import re
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mailward.config import Relay
from mailward.core.names import InvalidName, check_ldh, is_address, parse_domain
from mailward.core.tlsrpt.daily import Reporter
from mailward.core.tlsrpt.trial import ORGANIZATION
from mailward.probe.trial import Sending, Signing

_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}")
_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
_MAX_KEY_BYTES = 64 * 1024
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def read_sending(
    contact: str,
    relay: str,
    key_file: Path | None,
    selector: str,
    *,
    ca_file: Path | None,
    smtp_port: int,
) -> Sending:
    """Raises ValueError with one sentence, OSError."""
    if not contact:
        raise ValueError("--report-test needs --contact: a report says who sent it")
    local, _, host = contact.rpartition("@")
    try:
        domain = parse_domain(host, allow_single=True)
    except InvalidName as error:
        raise ValueError(f"--contact: {error}") from error
    if not _LOCAL_PART.fullmatch(local):
        raise ValueError(f"--contact: {contact[:60]!r} is no mail address")
    if (key_file is None) != (not selector):
        raise ValueError("--dkim-key and --dkim-selector go together")
    signing = None if key_file is None else _read_signing(key_file, selector)
    reporter = Reporter(ORGANIZATION, f"{local}@{domain}")
    return Sending(reporter, signing, _read_relay(relay) if relay else None, smtp_port, ca_file)


def refuse_stray(contact: str, relay: str, key_file: Path | None, selector: str) -> None:
    """Of the options above, without --report-test: who gives one means to send. Raises ValueError with one sentence."""
    given = {"--contact": contact, "--relay": relay, "--dkim-key": key_file, "--dkim-selector": selector}
    for option, value in given.items():
        if value:
            raise ValueError(f"{option} goes with --report-test, without which no report is sent")


def _read_signing(file: Path, selector: str) -> Signing:
    if not _SELECTOR.fullmatch(selector):
        raise ValueError(f"--dkim-selector: {selector[:60]!r} is no selector")
    with file.open("rb") as stream:
        pem = stream.read(_MAX_KEY_BYTES)
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"--dkim-key: {file} holds no private key without a password") from error
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise ValueError(f"--dkim-key: {file}: only RSA and Ed25519 keys sign mail")
    return Signing(selector, key)


def _read_relay(text: str) -> Relay:
    """`host`, `host:port`, `[address]:port`. In the clear on this machine, else with STARTTLS; TLS at once at 465."""
    match = re.fullmatch(r"(?:\[(?P<literal>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?", text)
    if match is None:
        raise ValueError(f"--relay: {text[:60]!r} is not host, host:port or [address]:port")
    host, port = match["literal"] or match["host"], int(match["port"] or 25)
    if not is_address(host):
        try:
            check_ldh(host)
        except InvalidName as error:
            raise ValueError(f"--relay: {error}") from error
    if not 0 < port < 65_536:
        raise ValueError(f"--relay: {port} is no port")
    security: Literal["none", "tls", "starttls"]
    security = "none" if host in _LOOPBACK else "tls" if port == 465 else "starttls"
    return Relay(host=host, port=port, security=security)
