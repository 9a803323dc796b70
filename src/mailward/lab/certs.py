"""A certificate authority of our own: real certificates, good and bad, in no time (P-256)."""

import datetime as dt
import hashlib
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mailward.net import clock

DAY = dt.timedelta(days=1)
_CA_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


class Authority:
    """`issue` makes server contexts; `file` is what a client trusts."""

    def __init__(self, folder: Path, name: str = "Test Authority") -> None:
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(
            self._name, self._key, x509.BasicConstraints(ca=True, path_length=0), [], clock.now() + 365 * DAY
        )
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        *names: str,
        expires_in: dt.timedelta = 30 * DAY,
        common_name: str = "",
        self_signed: bool = False,
    ) -> ssl.SSLContext:
        """A server context with a certificate for these DNS-IDs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # load_cert_chain takes only files
            file.write(
                self.issue_pem(
                    *names, expires_in=expires_in, common_name=common_name, self_signed=self_signed
                )
            )
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def issue_pem(
        self,
        *names: str,
        expires_in: dt.timedelta = 30 * DAY,
        common_name: str = "",
        self_signed: bool = False,
    ) -> bytes:
        """Key and certificate, for servers that are no Python."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            _name(common_name or (names[0] if names else "nobody")),
            key,
            x509.BasicConstraints(ca=False, path_length=None),
            names,
            clock.now() + expires_in,
            self_signed=self_signed,
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private + certificate.public_bytes(serialization.Encoding.PEM)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        constraints: x509.BasicConstraints,
        names: list[str] | tuple[str, ...],
        not_after: dt.datetime,
        *,
        self_signed: bool = False,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(clock.now(), not_after) - DAY)
            .not_valid_after(not_after)
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if constraints.ca:
            builder = builder.add_extension(_CA_KEY_USAGE, critical=True)
        # RFC 5280 §4.2.1.1, which Python 3.13 asks for
        issuer = key if self_signed else self._key
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if names:
            alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(issuer, hashes.SHA256())


def key_hash(pem: bytes) -> str:
    """SHA-256 of the certificate's key, in hex: the data of a TLSA record `3 1 1`."""
    key = x509.load_pem_x509_certificate(pem).public_key()
    info = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).hexdigest()
