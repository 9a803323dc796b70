"""What Postfix 3.10 and later tell of each TLS handshake: one datagram of libtlsrpt's, protocol version 1.

A JSON object: `d` the domain whose TLSRPT record `pr` asks for reports, and in `policies` what held for the session,
with the failures that were met (`failure-details`) and how it ended (`f`: 0 well). Both are independent: a session can
end well after a failure. libtlsrpt escapes no bytes above 0x7f, and the greeting in `h` is a stranger's: what is no
UTF-8 is replaced. docs/tlsrpt.md says what is made of each field.
"""

import ipaddress
import re
from functools import lru_cache
from typing import Annotated, NamedTuple

import msgspec

from mailward.core.names import Domain, InvalidName, parse_domain
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import FailureDetail, Policy, PolicyType

MAX_DATAGRAM_BYTES = 224 * 1024
"""The kernel's default send buffer lets no larger one through."""
MAX_POLICIES = 16  # Postfix sends one
MAX_DETAILS = 32  # of one session; Postfix sends one
MAX_TEXT = 255  # of a greeting, a reason or a name
MAX_RECORD = 4096

VERSION = "1"
RESULT_TYPES = {
    201: ResultType.STARTTLS_NOT_SUPPORTED,
    202: ResultType.CERTIFICATE_HOST_MISMATCH,
    203: ResultType.CERTIFICATE_NOT_TRUSTED,
    204: ResultType.CERTIFICATE_EXPIRED,
    205: ResultType.VALIDATION_FAILURE,
    301: ResultType.STS_POLICY_FETCH_ERROR,
    302: ResultType.STS_POLICY_INVALID,
    303: ResultType.STS_WEBPKI_INVALID,
    304: ResultType.TLSA_INVALID,
    305: ResultType.DNSSEC_INVALID,
    306: ResultType.DANE_REQUIRED,
}
_POLICY_TYPES = {1: PolicyType.TLSA, 2: PolicyType.STS, 9: PolicyType.NO_POLICY_FOUND}
_GREETING = re.compile(r"(?:[0-9]{3}[ -])?([^\r\n]*)")


class DatagramError(ValueError):
    """No session can be read from it. `code` is a stable slug."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Session(NamedTuple):
    """One connection, as far as one policy is concerned."""

    policy: Policy
    has_failed: bool
    details: tuple[FailureDetail, ...]
    """Without counts. Some may be there though the session went well."""


class Datagram(NamedTuple):
    domain: Domain
    """The TLSRPT domain."""
    record: str
    """Its TXT record, as Postfix saw it."""
    sessions: tuple[Session, ...]


class _Failure(msgspec.Struct, gc=False):
    c: int
    s: str | None = None
    n: str | None = None
    h: str | None = None
    r: str | None = None
    a: str | None = None
    f: str | None = None


class _Policy(msgspec.Struct, gc=False, rename="kebab"):
    policy_type: int
    f: int
    policy_domain: str | None = None
    policy_string: tuple[str, ...] = ()
    mx_host: tuple[str, ...] = ()
    failure_details: Annotated[tuple[_Failure, ...], msgspec.Meta(max_length=MAX_DETAILS)] = ()


class _Wire(msgspec.Struct, gc=False):
    d: str
    pr: Annotated[str, msgspec.Meta(max_length=MAX_RECORD)]
    policies: Annotated[tuple[_Policy, ...], msgspec.Meta(min_length=1, max_length=MAX_POLICIES)]
    dpv: str | int | None = None


class _Version(msgspec.Struct, gc=False):
    dpv: str | int | None = None


_decode = msgspec.json.Decoder(_Wire).decode
_decode_version = msgspec.json.Decoder(_Version).decode


def read_datagram(raw: bytes) -> Datagram:
    """Raises DatagramError."""
    if len(raw) > MAX_DATAGRAM_BYTES:
        raise DatagramError("too-large", f"the datagram has {len(raw)} bytes, more than {MAX_DATAGRAM_BYTES}")
    wire = _read_json(raw)
    _check_version(wire.dpv)
    domain = _domain(wire.d)
    return Datagram(domain, wire.pr, tuple(_session(policy, domain) for policy in wire.policies))


def _read_json(raw: bytes) -> _Wire:
    try:
        return _decode(raw)
    except UnicodeDecodeError:  # before msgspec's own, which are ValueErrors as well
        pass
    except (msgspec.MsgspecError, RecursionError):
        if raw.isascii():
            raise _why_damaged(raw) from None
    replaced = raw.decode("utf-8", "replace").encode()
    try:
        return _decode(replaced)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _why_damaged(replaced) from None


def _why_damaged(raw: bytes) -> DatagramError:
    try:
        _check_version(_decode_version(raw).dpv)  # another version may look otherwise
        _decode(raw)
    except DatagramError as error:
        return error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return DatagramError("damaged", f"no datagram of libtlsrpt's: {error}"[:200])
    return DatagramError("damaged", "no datagram of libtlsrpt's")


def _check_version(version: str | int | None) -> None:
    # libtlsrpt before 0.5 does not say it
    if version is not None and str(version) != VERSION:
        shown = ascii(str(version)[:20])
        raise DatagramError("version", f"datagram protocol version (dpv) {shown} is not known, {VERSION} is")


@lru_cache(maxsize=20_000)
def _domain(text: str) -> Domain:
    try:
        return parse_domain(text, allow_single=True)
    except InvalidName as error:
        raise DatagramError("domain", f"d is no domain: {error}"[:200]) from error


def _session(wire: _Policy, domain: Domain) -> Session:
    policy_type = _POLICY_TYPES.get(wire.policy_type)
    if policy_type is None:
        raise DatagramError("policy-type", f"policy-type {wire.policy_type} is not known")
    policy = Policy(
        policy_type=policy_type,
        policy_string=wire.policy_string,
        policy_domain=_policy_domain(wire.policy_domain, domain),
        mx_host=wire.mx_host,
    )
    return Session(policy, wire.f != 0, tuple(map(_detail, wire.failure_details)))


def _policy_domain(text: str | None, domain: Domain) -> str:
    if not text:
        return domain  # Postfix before 3.10.5 leaves it out where there is no policy
    try:
        return _domain(text)
    except DatagramError:
        return text[:MAX_TEXT].lower()


def _detail(wire: _Failure) -> FailureDetail:
    result = RESULT_TYPES.get(wire.c)
    reason = _text(wire.f)
    if result is None:
        # RFC 8460 §4.3.1: what fits no other type. Whether the session failed is known all the same
        result = ResultType.VALIDATION_FAILURE
        reason = (
            f"libtlsrpt-code-{wire.c}" if reason is None else f"libtlsrpt-code-{wire.c}:{reason}"[:MAX_TEXT]
        )
    return FailureDetail(
        result_type=result,
        sending_mta_ip=_address(wire.s),
        receiving_mx_hostname=_text(wire.n.lower().removesuffix(".")) if wire.n else None,
        receiving_mx_helo=_greeting(wire.h),
        receiving_ip=_address(wire.r),
        additional_information=_text(wire.a),
        failure_reason_code=reason,
    )


def _greeting(text: str | None) -> str | None:
    """What the server called itself: `h` is its whole reply to EHLO, line by line."""
    if not text:
        return None
    found = _GREETING.match(text, 0, MAX_TEXT + 4)
    return (found[1] or None) if found else None


@lru_cache(maxsize=10_000)
def _address(text: str | None) -> str | None:
    """As RFC 5952 writes it; None for what is no address."""
    if not text:
        return None
    try:
        return str(ipaddress.ip_address(text[:60]))
    except ValueError:
        return None


def _text(text: str | None) -> str | None:
    return text[:MAX_TEXT] if text else None
