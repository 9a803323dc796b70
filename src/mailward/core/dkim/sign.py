"""Signing (RFC 6376 section 5, RFC 8463), relaxed/relaxed: for the reports that we send."""

import base64
import hashlib
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from mailward.core.dkim.message import Field, relaxed_body, split_message
from mailward.core.dkim.signature import Signature
from mailward.core.dkim.verify import header_hash

SigningKey = RSAPrivateKey | Ed25519PrivateKey

_SIGNED = (
    b"from",
    b"to",
    b"subject",
    b"date",
    b"message-id",
    b"tls-report-domain",  # RFC 8460 §5.3: both TLS-Report fields belong into h=
    b"tls-report-submitter",
    b"mime-version",
    b"content-type",
)


def sign(
    raw: bytes,
    domain: str,
    selector: str,
    key: SigningKey,
    *,
    now: datetime | None = None,
    extra_tags: str = "",
) -> bytes:
    """The mail with a DKIM-Signature field on top. From is signed once more than it stands there.

    `extra_tags` go into the field as they are, such as `l=10;` to see it refused.
    """
    message = split_message(raw)
    present = {field.name for field in message.fields}
    names = (*(name for name in _SIGNED if name in present), b"from")
    algorithm = "rsa-sha256" if isinstance(key, RSAPrivateKey) else "ed25519-sha256"
    body_hash = base64.b64encode(hashlib.sha256(relaxed_body(message.body)).digest()).decode()
    time = f"t={int(now.timestamp())}; " if now else ""
    value = (
        f" v=1; a={algorithm}; c=relaxed/relaxed; d={domain}; s={selector};\r\n"
        f"\t{time}{extra_tags}h={':'.join(name.decode() for name in names)};\r\n"
        f"\tbh={body_hash};\r\n\tb="
    ).encode()
    field = Field(b"dkim-signature", b"DKIM-Signature", value)
    unsigned = Signature(field, domain, header_form="relaxed", signed_names=names)
    digest = header_hash(message, unsigned)
    if isinstance(key, RSAPrivateKey):
        signature = key.sign(digest, PKCS1v15(), Prehashed(SHA256()))
    else:
        signature = key.sign(digest)
    text = base64.b64encode(signature)
    folded = b"\r\n\t ".join(text[start : start + 70] for start in range(0, len(text), 70))
    return b"DKIM-Signature:" + value + folded + b"\r\n" + raw
