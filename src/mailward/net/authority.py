"""A certificate authority of our own, for development: made on first start, trusted by nobody but you.

`curl --cacert var/ca/ca.pem ...` trusts it. It signs certificates for hosted names on demand, in memory.
"""

import fcntl
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailward.net import clock
from mailward.net.durable import write_whole

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=90)
RENEW_AFTER = LEAF_LIFETIME * 2 / 3
_CLOCK_SKEW = timedelta(hours=1)
_MAX_COMMON_NAME = 64  # RFC 5280, upper bound ub-common-name


class AuthorityUnusable(Exception):
    """The files of the development authority are there and cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def issue(self, name: str, now: datetime) -> bytes:
        """PEM of a fresh certificate for the host `name`, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if len(name) <= _MAX_COMMON_NAME else []
        ca_key_id = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        authority_key_id = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_key_id)
        certificate = (
            _start(x509.Name(subject), self.certificate.subject, key, now, LEAF_LIFETIME)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=not subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(authority_key_id, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return _certificate_pem(certificate) + _key_pem(key)


def load_authority(folder: Path) -> Authority:
    """The authority in `folder` (`ca.pem`, `ca.key`), made where there is none.

    Raises AuthorityUnusable; OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificate_file, key_file = folder / "ca.pem", folder / "ca.key"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes may start at once
        if not certificate_file.exists():
            authority = _make_authority(clock.now())
            write_whole(_key_pem(authority.key), key_file, 0o600)
            write_whole(_certificate_pem(authority.certificate), certificate_file)
            return authority
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise AuthorityUnusable(
            f"{folder}: {error}; move ca.pem and ca.key away to have new ones made"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise AuthorityUnusable(f"{key_file} is not the key of {certificate_file}")
    return Authority(certificate, key)


class AuthoritySource:
    """Certificates by the development authority, for the names that `is_ours` accepts (a `CertificateSource`).

    Nothing is kept: a certificate whose context has gone is issued again.
    """

    def __init__(self, authority: Authority, is_ours: Callable[[str], bool]) -> None:
        self._authority, self._is_ours = authority, is_ours
        self._began: datetime | None = None

    def version_for(self, name: str) -> tuple[str, int] | None:
        return (name, self._period(clock.now())) if self._is_ours(name) else None

    def load(self, name: str) -> tuple[bytes, tuple[str, int]] | None:
        if not self._is_ours(name):
            return None
        now = clock.now()
        return self._authority.issue(name, now), (name, self._period(now))

    def _period(self, now: datetime) -> int:
        """A name gets a new certificate in each: none comes near its end."""
        if self._began is None:
            self._began = now
        return (now - self._began) // RENEW_AFTER


def _make_authority(now: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    # a part of its own: somebody may trust the authorities of two installations
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Mailward"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Mailward development CA {secrets.token_hex(4)}"),
        ]
    )
    certificate = (
        _start(name, name, key, now, CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def _start(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
