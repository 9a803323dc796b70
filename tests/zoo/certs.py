"""Certificates of the zoo: a root that is trusted, an intermediate below it, and each way for a chain to be wrong."""

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from mailward.net import clock

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_LIFE = (-30, 60)
_DAYS = {"expired": (-100, -10), "not-yet-valid": (10, 100), "ends-soon": (-81, 9)}


@dataclass(frozen=True)
class Signer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Chain:
    key: _Key
    certificates: tuple[x509.Certificate, ...]
    """As the server is to present them."""

    @property
    def pem(self) -> bytes:
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + b"".join(each.public_bytes(Encoding.PEM) for each in self.certificates)


class Zoo:
    """`root_file` is what the check trusts."""

    def __init__(self, folder: Path) -> None:
        self.root = _authority("Zoo Root")
        self.intermediate = _authority("Zoo Intermediate", self.root)
        self.next_intermediate = _authority("Zoo Intermediate 2", self.root)
        self.stranger = _authority("Nobody's Root")
        self.root_file = folder / "root.pem"
        self.root_file.write_bytes(self.root.certificate.public_bytes(Encoding.PEM))

    def issue(self, kind: str, *names: str) -> Chain:
        """`good`, or the way to be wrong."""
        key: _Key = ec.generate_private_key(ec.SECP256R1())
        signer = self.intermediate
        above: tuple[x509.Certificate, ...] = (signer.certificate,)
        match kind:
            case "weak-key":
                key = rsa.generate_private_key(65537, 1024)
            case "rsa":
                key = rsa.generate_private_key(65537, 2048)
            case "self-signed":
                return Chain(key, (_leaf(names, key, None, _LIFE),))
            case "untrusted":
                signer, above = self.stranger, ()
            case "other-intermediate":
                signer = self.next_intermediate
                above = (signer.certificate,)
            case "no-intermediate":
                above = ()
            case "wrong-order":
                above = (self.root.certificate, self.intermediate.certificate)
            case "other-name":
                names = ("other.example",)
            case "common-name":
                leaf = _leaf(names, key, signer, _LIFE, with_names=False)
                return Chain(key, (leaf, *above))
            case "good" | "expired" | "not-yet-valid" | "ends-soon":
                pass
            case _:
                raise ValueError(f"{kind} is no kind of certificate here")
        # a public authority's certificate says where its issuer is to be had
        is_public = signer is self.intermediate
        leaf = _leaf(names, key, signer, _DAYS.get(kind, _LIFE), has_issuer_url=is_public)
        return Chain(key, (leaf, *above))


def issue_by(organisation: str, name: str) -> Chain:
    """A good certificate by an authority of that organisation, trusted by nobody here."""
    signer = _authority("R11", organisation=organisation)
    key = ec.generate_private_key(ec.SECP256R1())
    return Chain(key, (_leaf((name,), key, signer, _LIFE),))


def tlsa(text: str, chain: Chain, issuer: x509.Certificate) -> str:
    """`3 1 1 leaf`, `2 1 1 issuer`, `3 1 1 former`, the key before the renewal, `3 1 1 wrong`; or any record."""
    head, _, what = text.rpartition(" ")
    if what == "former":
        former = ec.generate_private_key(ec.SECP256R1())
        chain, what = Chain(former, (_leaf(("former.test",), former, None, _LIFE),)), "leaf"
    if what == "wrong":
        return f"{head} {'00' * (64 if head.endswith('2') else 32)}"
    if what not in ("leaf", "issuer"):
        return text
    _, selector, kind = (int(part) for part in head.split())
    certificate = chain.certificates[0] if what == "leaf" else issuer
    data = certificate.public_bytes(Encoding.DER)
    if selector == 1:
        data = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digests = {0: data, 1: hashlib.sha256(data).digest(), 2: hashlib.sha512(data).digest()}
    return f"{head} {digests[kind].hex()}"


def _authority(name: str, parent: Signer | None = None, organisation: str = "") -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organisation:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    subject = x509.Name(attributes)
    issuer = parent.certificate.subject if parent else subject
    builder = _start(subject, issuer, key, (-365, 3650))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Signer(builder.sign(parent.key if parent else key, hashes.SHA256()), key)


def _leaf(
    names: tuple[str, ...],
    key: _Key,
    signer: Signer | None,
    days: tuple[int, int],
    *,
    has_issuer_url: bool = False,
    with_names: bool = True,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    builder = _start(subject, signer.certificate.subject if signer else subject, key, days)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    if with_names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    if has_issuer_url:
        where = x509.UniformResourceIdentifier("http://authority.test/issuer.der")
        description = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
        builder = builder.add_extension(x509.AuthorityInformationAccess([description]), critical=False)
    own = key if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) else None
    return builder.sign(signer.key if signer else own, hashes.SHA256())


def _start(
    subject: x509.Name, issuer: x509.Name, key: _Key, days: tuple[int, int]
) -> x509.CertificateBuilder:
    now = clock.now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
    )
