"""The DKIM-Signature field (RFC 6376 section 3.5)."""

import base64
import binascii
import re
from dataclasses import dataclass

from mailward.core.dkim.message import Field, Malformed, Message, from_domain, split_message

MAX_TRIED = 5
"""Aligned signatures that are looked at; each costs a DNS question and a public key operation."""
_MAX_LOOKED_AT = 50
_MAX_FIELD_BYTES = 16 * 1024
_MAX_SIGNED_FIELDS = 300

_TAG = re.compile(rb"[A-Za-z][A-Za-z0-9_]*")
_LABELS = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]{1,63}", re.ASCII)
_ALGORITHMS = frozenset({"rsa-sha256", "ed25519-sha256"})
_CANONICAL = frozenset({"simple", "relaxed"})


@dataclass(frozen=True, slots=True)
class Signature:
    """One DKIM-Signature. Where `problem` is set it proves nothing, and the rest may be empty."""

    field: Field
    domain: str
    selector: str = ""
    aligned: bool = False
    """Whether `domain` is the From field's domain or a parent of it."""
    has_length: bool = False
    """`l=`: only a part of the body is signed."""
    algorithm: str = ""
    header_form: str = ""
    body_form: str = ""
    signed_names: tuple[bytes, ...] = ()
    identity_domain: str = ""
    body_hash: bytes = b""
    value: bytes = b""
    expires: int | None = None
    """Seconds since 1970."""
    problem: str = ""

    @property
    def key_name(self) -> str:
        """Where the TXT record with the public key stands."""
        return f"{self.selector}._domainkey.{self.domain}"

    def covers(self, message: Message, name: bytes) -> bool:
        """Whether the mail has a field of this name, in lower case, and each of them is signed."""
        return 0 < len(message.all(name)) <= self.signed_names.count(name)


def find_signatures(raw: bytes | Message) -> tuple[Signature, ...]:
    """The signatures that could make the mail verified: at most five whose domain is aligned with From.

    Where none is aligned, the others, so that one can say whose they are. Nothing for a mail that cannot be
    judged.
    """
    try:
        message = raw if isinstance(raw, Message) else split_message(raw)
    except Malformed:
        return ()
    author = from_domain(message)
    fields = message.all(b"dkim-signature")[:_MAX_LOOKED_AT]
    signatures = [_read(field, author) for field in fields]
    aligned = [signature for signature in signatures if signature.aligned]
    return tuple((aligned or signatures)[:MAX_TRIED])


def is_aligned(domain: str, author: str | None) -> bool:
    """Whether a signature of `domain` speaks for an address at `author`: itself or a parent, with two
    labels.
    """
    if not author or "." not in domain:
        return False
    return author == domain or author.endswith("." + domain)


def parse_tags(text: bytes) -> dict[str, bytes]:
    """A tag list (RFC 6376 §3.2): names with stripped values. Raises ValueError."""
    tags: dict[str, bytes] = {}
    for part in text.split(b";"):
        name, equals, value = part.partition(b"=")
        name = name.strip(b" \t\r\n")
        if not name and not equals:
            continue  # the optional semicolon at the end
        if not equals or not _TAG.fullmatch(name):
            raise ValueError("it is no list of tags")
        key = name.decode("ascii")
        if key in tags:
            raise ValueError(f"tag {key} stands there twice")  # RFC 6376 §3.2: the whole list is invalid
        tags[key] = value.strip(b" \t\r\n")
    return tags


def _read(field: Field, author: str | None) -> Signature:
    if len(field.value) > _MAX_FIELD_BYTES:
        return Signature(field, "", problem=f"the field has more than {_MAX_FIELD_BYTES} bytes")
    try:
        tags = parse_tags(field.value)
    except ValueError as error:
        return Signature(field, "", problem=str(error))
    domain = _text(tags.get("d", b"")).lower().removesuffix(".")
    selector = _text(tags.get("s", b""))
    aligned = is_aligned(domain, author)
    try:
        return _checked(field, tags, domain, selector, aligned)
    except ValueError as error:
        return Signature(field, domain, selector, aligned, "l" in tags, problem=str(error))


def _checked(field: Field, tags: dict[str, bytes], domain: str, selector: str, aligned: bool) -> Signature:
    for name in ("v", "a", "b", "bh", "d", "h", "s"):
        if not tags.get(name):
            raise ValueError(f"tag {name} is missing")
    if tags["v"] != b"1":
        raise ValueError("tag v is not 1")
    if len(domain) > 253 or not _LABELS.fullmatch(domain) or not _LABELS.fullmatch(selector):
        raise ValueError("tag d or s is no name")
    if "q" in tags and b"dns/txt" not in _compact(tags["q"]).lower().split(b":"):
        raise ValueError("tag q does not offer dns/txt")
    algorithm = _text(tags["a"]).lower()
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"algorithm {algorithm[:20]} is not accepted")  # RFC 8301 §3.1: no SHA-1
    header_form, _, body_form = _text(tags.get("c", b"simple/simple")).lower().partition("/")
    if not {header_form, body_form or "simple"} <= _CANONICAL:
        raise ValueError("tag c names an unknown canonicalization")
    names = tuple(name.strip(b" \t\r\n").lower() for name in tags["h"].split(b":"))
    if len(names) > _MAX_SIGNED_FIELDS:
        raise ValueError(f"tag h has more than {_MAX_SIGNED_FIELDS} names")
    if b"from" not in names:
        raise ValueError("From is not signed")  # RFC 6376 §5.4
    begins, expires = _seconds(tags, "t"), _seconds(tags, "x")
    if begins is not None and expires is not None and expires <= begins:
        raise ValueError("it ends before it begins")
    identity = _text(tags.get("i", b"@" + domain.encode())).rpartition("@")[2].lower()
    if identity != domain and not identity.endswith("." + domain):
        raise ValueError("tag i is outside of tag d")
    return Signature(
        field=field,
        domain=domain,
        selector=selector,
        aligned=aligned,
        has_length="l" in tags,
        algorithm=algorithm,
        header_form=header_form,
        body_form=body_form or "simple",
        signed_names=names,
        identity_domain=identity,
        body_hash=_base64(tags["bh"], "bh"),
        value=_base64(tags["b"], "b"),
        expires=expires,
    )


def _seconds(tags: dict[str, bytes], name: str) -> int | None:
    if name not in tags:
        return None
    if not tags[name].isdigit() or len(tags[name]) > 12:  # RFC 6376 §3.5: 12 digits are enough until 9999
        raise ValueError(f"tag {name} is no time")
    return int(tags[name])


def _text(value: bytes) -> str:
    return _compact(value).decode("ascii", "replace")


def _compact(value: bytes) -> bytes:
    return b"".join(value.split())


def _base64(value: bytes, name: str) -> bytes:
    try:
        return base64.b64decode(_compact(value), validate=True)
    except binascii.Error as error:
        raise ValueError(f"tag {name} is no base64") from error
