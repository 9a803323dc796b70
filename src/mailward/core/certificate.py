"""X.509 certificates as a mail server presents them: what senders look at, read from DER.

Certificates come from strangers: whatever cannot be read raises CertificateUnreadable, and texts in them are as
hostile as any other.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from mailward.core.names import matches_mx

MAX_BYTES = 64 * 1024
MIN_RSA_BITS = 2048  # RFC 9325 §4.5
MIN_EC_BITS = 224
_WEAK_HASHES = ("md2", "md4", "md5", "sha1")
_MAX_NAMES = 1000
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for certificates that it does not like."""


class CertificateUnreadable(ValueError):
    """The bytes are no certificate; the text says why."""

    code = "certificate-unreadable"


@dataclass(frozen=True, slots=True)
class Certificate:
    der: bytes
    names: tuple[str, ...]
    """DNS-IDs, lower case."""
    common_name: str
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    key: str
    """Such as `RSA 2048` or `EC secp256r1`."""
    weakness: str
    """Why senders may find key or signature too weak; empty: they do not."""
    is_self_issued: bool
    has_issuer_url: bool
    """It says where its issuer's certificate is to be had, as public authorities have it say."""
    public_key: bytes
    """SubjectPublicKeyInfo, DER."""
    parsed: x509.Certificate = field(compare=False, repr=False)

    def names_host(self, host: str) -> bool:
        """Whether a DNS-ID is this host's (RFC 6125 section 6.4: `*` is the whole left-most label)."""
        return any(matches_mx(name, host) for name in self.names)

    def is_issued_by(self, other: "Certificate") -> bool:
        """Whether the other is the issuer by name, and its key made the signature."""
        try:
            self.parsed.verify_directly_issued_by(other.parsed)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True


@lru_cache(maxsize=256)
def read_certificate(der: bytes) -> Certificate:
    """Raises CertificateUnreadable."""
    if len(der) > MAX_BYTES:
        raise CertificateUnreadable(f"the certificate is larger than {MAX_BYTES} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the certificate's owner did, not of us
            return _read(x509.load_der_x509_certificate(der), der)
    except UNREADABLE as error:
        raise CertificateUnreadable(f"the certificate cannot be read: {error}"[:200]) from error


def read_chain(ders: Iterable[bytes]) -> tuple[Certificate, ...]:
    """In their order, as far as they can be read: what follows must not be taken for the server's own."""
    chain = []
    for der in ders:
        try:
            chain.append(read_certificate(der))
        except CertificateUnreadable:
            break
    return tuple(chain)


def _read(parsed: x509.Certificate, der: bytes) -> Certificate:
    key, weakness = _describe_key(parsed)
    return Certificate(
        der,
        _dns_ids(parsed),
        _common_name(parsed),
        parsed.subject.rfc4514_string(),
        parsed.issuer.rfc4514_string(),
        parsed.not_valid_before_utc,
        parsed.not_valid_after_utc,
        key,
        weakness or _weak_signature(parsed),
        parsed.subject == parsed.issuer,
        _has_issuer_url(parsed),
        parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        parsed,
    )


def _dns_ids(parsed: x509.Certificate) -> tuple[str, ...]:
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName)[:_MAX_NAMES])


def _common_name(parsed: x509.Certificate) -> str:
    found = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value).lower() if found else ""


def _has_issuer_url(parsed: x509.Certificate) -> bool:
    try:
        access = parsed.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(each.access_method == AuthorityInformationAccessOID.CA_ISSUERS for each in access)


def _describe_key(parsed: x509.Certificate) -> tuple[str, str]:
    """The key, and what is weak about it."""
    key = parsed.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        weak = key.key_size < MIN_RSA_BITS
        return f"RSA {key.key_size}", f"an RSA key of {key.key_size} bits" if weak else ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        weak = key.curve.key_size < MIN_EC_BITS
        return f"EC {key.curve.name}", f"a key on the curve {key.curve.name}" if weak else ""
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return "EdDSA", ""
    return type(key).__name__.removesuffix("PublicKey").lstrip("_"), "a key of an unusual kind"


def _weak_signature(parsed: x509.Certificate) -> str:
    if parsed.subject == parsed.issuer:
        return ""  # whoever trusts it, does so without its signature
    algorithm = parsed.signature_hash_algorithm
    if algorithm is not None and algorithm.name.lower() in _WEAK_HASHES:
        return f"a signature with {algorithm.name.upper()}"
    return ""
