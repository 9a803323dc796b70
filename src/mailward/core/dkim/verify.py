"""Whether a report mail is signed as RFC 8460 section 3 wants it."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from mailward.core.dkim.key import KeyAnswer, KeyRefused, KeyRevoked, KeyStatus, pick_key
from mailward.core.dkim.message import (
    Field,
    Malformed,
    Message,
    from_domain,
    relaxed_body,
    relaxed_field,
    simple_body,
    simple_field,
    split_message,
)
from mailward.core.dkim.signature import Signature, find_signatures

# A second field of these above the signed one is what most readers would take: it must be signed as well.
_NO_UNSIGNED_COPY = (
    b"from",
    b"content-type",
    b"content-transfer-encoding",
    b"tls-report-domain",
    b"tls-report-submitter",
)
_SHOULD_BE_SIGNED = (b"tls-report-domain", b"tls-report-submitter")  # RFC 8460 §5.3


class Result(StrEnum):
    PASS = "pass"  # noqa: S105 - RFC 8601's word
    FAIL = "fail"
    ABSENT = "absent"
    """No signature at all."""
    KEY_GONE = "key-gone"
    """The key is no longer published, or revoked: usual for an old mail."""
    TEMPORARY = "temporary"
    """DNS gave no answer: judge again later."""


@dataclass(frozen=True, slots=True)
class DkimVerdict:
    result: Result
    domain: str = ""
    """The signer, where the result is PASS; else the domain whose signature was looked at last."""
    detail: str = ""
    """One sentence on why, or what is worth knowing; for people."""
    signature: Signature | None = field(default=None, compare=False)
    """The one that holds, where the result is PASS."""


# what is said when several signatures disagree: one good signature is enough, and a later try may give one
_PREFERENCE = (Result.PASS, Result.TEMPORARY, Result.FAIL, Result.KEY_GONE)


def verify(
    raw: bytes | Message,
    keys: Mapping[str, KeyAnswer],
    now: datetime,
    signatures: Sequence[Signature] | None = None,
) -> DkimVerdict:
    """The verdict on a mail, with the DNS answers by `Signature.key_name`; a missing one counts as temporary.

    `signatures`: what find_signatures has found in it, if that was asked before.
    """
    try:
        message = raw if isinstance(raw, Message) else split_message(raw)
    except Malformed as error:
        return DkimVerdict(Result.FAIL, detail=f"{error}.")
    if signatures is None:
        signatures = find_signatures(message)
    if not signatures:
        return DkimVerdict(Result.ABSENT, detail="The mail has no DKIM signature.")
    author = from_domain(message)
    if author is None:
        return DkimVerdict(Result.FAIL, signatures[0].domain, "From does not hold exactly one address.")
    if not signatures[0].aligned:
        domains = ", ".join(sorted({signature.domain or "nobody" for signature in signatures}))
        return DkimVerdict(
            Result.FAIL,
            signatures[0].domain,
            f"Signed by {domains}, which does not speak for {author} of From.",
        )
    verdicts = []
    for signature in signatures:
        verdict = _judge(message, signature, keys, now)
        if verdict.result is Result.PASS:
            return verdict
        verdicts.append(verdict)
    return min(verdicts, key=lambda verdict: _PREFERENCE.index(verdict.result))


def _judge(
    message: Message, signature: Signature, keys: Mapping[str, KeyAnswer], now: datetime
) -> DkimVerdict:
    def verdict(result: Result, detail: str) -> DkimVerdict:
        holding = signature if result is Result.PASS else None
        return DkimVerdict(result, signature.domain, f"Signature of {signature.domain}: {detail}.", holding)

    if problem := signature.problem or _refusal(message, signature, now):
        return verdict(Result.FAIL, problem)
    answer = keys.get(signature.key_name)
    if answer is None or answer.status is KeyStatus.TEMPORARY:
        reason = answer.reason if answer and answer.reason else "no answer"
        return verdict(Result.TEMPORARY, f"the key could not be asked for ({reason})")
    if answer.status is KeyStatus.GONE or not answer.records:
        return verdict(Result.KEY_GONE, f"there is no key at {signature.key_name}")
    try:
        key = pick_key(answer.records, signature.algorithm)
    except KeyRevoked:
        return verdict(Result.KEY_GONE, "the key was revoked")
    except KeyRefused as error:
        return verdict(Result.FAIL, str(error))
    if key.exact_domain and signature.identity_domain != signature.domain:
        return verdict(Result.FAIL, "the key is for the domain itself only (t=s)")
    if _body_hash(message, signature) != signature.body_hash:
        return verdict(Result.FAIL, "the body was changed on the way")
    if not _holds(key.key, signature, header_hash(message, signature)):
        return verdict(Result.FAIL, "the signature does not match the header")
    unsigned = [name.decode() for name in _SHOULD_BE_SIGNED if name not in signature.signed_names]
    return verdict(Result.PASS, "valid" + (f"; not signed: {', '.join(unsigned)}" if unsigned else ""))


def _refusal(message: Message, signature: Signature, now: datetime) -> str:
    """Why the signature proves nothing whatever its key, or ""."""
    if signature.has_length:
        return "l= leaves room for additions"  # RFC 8460 §3: MUST NOT
    if signature.expires is not None and now.timestamp() > signature.expires:
        return "it has expired (x=)"
    signed = Counter(signature.signed_names)
    for name in _NO_UNSIGNED_COPY:
        if 0 < signed[name] < len(message.all(name)):
            return f"there is a {name.decode()} field beyond the signed one"
    return ""


def _body_hash(message: Message, signature: Signature) -> bytes:
    form = relaxed_body if signature.body_form == "relaxed" else simple_body
    return hashlib.sha256(form(message.body)).digest()


def header_hash(message: Message, signature: Signature) -> bytes:
    """The SHA-256 of what the signature covers of the header (RFC 6376 section 3.7)."""
    form = relaxed_field if signature.header_form == "relaxed" else simple_field
    digest = hashlib.sha256()
    stacks: dict[bytes, list[Field]] = {}
    for each in message.fields:
        stacks.setdefault(each.name, []).append(each)
    for name in signature.signed_names:
        # RFC 6376 §5.4.2: instances are signed from the bottom up; a name beyond them signs their absence
        if stack := stacks.get(name):
            digest.update(form(stack.pop()) + b"\r\n")
    own = signature.field
    digest.update(form(Field(own.name, own.raw_name, _without_value(own.value))))
    return digest.digest()


def _without_value(text: bytes) -> bytes:
    """The field with the value of its tag b deleted, white space around it too."""
    parts = text.split(b";")
    for at, part in enumerate(parts):
        name, equals, _ = part.partition(b"=")
        if equals and name.strip(b" \t\r\n") == b"b":
            parts[at] = name + equals
    return b";".join(parts)


def _holds(key: RSAPublicKey | Ed25519PublicKey, signature: Signature, digest: bytes) -> bool:
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature.value, digest, PKCS1v15(), Prehashed(SHA256()))
        else:
            key.verify(signature.value, digest)  # RFC 8463 §3: Ed25519 signs the SHA-256
    except InvalidSignature:
        return False
    return True
