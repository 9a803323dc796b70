"""One look at an MX host: does it offer STARTTLS, and is its certificate what RFC 8461 section 4.2 wants?

    context = make_context(ca_file)
    seen = await probe("mx.example", "192.0.2.1", context, "probe.example.org")
    seen.result                                    # None: all is as it must be

The name is not looked up here: whoever asks knows the address that mail went to. No mail is begun, and QUIT is said.
"""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path

from mailward.core.smtp.opening import Opening, Reason, Step
from mailward.core.tlsrpt.results import ResultType
from mailward.net.guard import AddressRefused, Guard

CONNECT_SECONDS = 20.0
TOTAL_SECONDS = 90.0  # servers let strangers wait before they greet
_LEAVE_SECONDS = 5.0
_READ_BYTES = 4096
_PORT = 25

# X509_V_ERR_..., of openssl/x509_vfy.h
_HAS_EXPIRED = 10
_HOSTNAME_MISMATCH = 62


@dataclass(frozen=True, slots=True)
class Seen:
    """`result` None and `was_seen`: STARTTLS, and a certificate that is valid for the host's name."""

    was_seen: bool
    """Whether the host was met: otherwise nothing is known of it."""
    result: ResultType | None = None
    reason: str = ""
    """For people and, as failure-reason-code, for reports."""

    @property
    def is_certificate(self) -> bool:
        """Whether the result is about its certificate."""
        return self.result in (
            ResultType.CERTIFICATE_EXPIRED,
            ResultType.CERTIFICATE_HOST_MISMATCH,
            ResultType.CERTIFICATE_NOT_TRUSTED,
        )


class AuthoritiesUnreadable(Exception):
    """The file of certificate authorities cannot be used; the text says why."""

    code = "ca-file"


def make_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Raises AuthoritiesUnreadable."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise AuthoritiesUnreadable(f"ca_file {ca_file}: {error}") from error
    context.hostname_checks_common_name = False  # RFC 8461 §4.2: a DNS-ID, not a CN
    # Python 3.13 would refuse certificates over matters of form that neither senders nor RFC 8461 ask for
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8461 §7.2
    return context


async def probe(
    host: str,
    address: str,
    context: ssl.SSLContext,
    ehlo_name: str,
    *,
    guard: Guard = Guard(),  # noqa: B008 - frozen
    port: int = _PORT,
) -> Seen:
    """`host` is the MX host's name, which its certificate must have, and which it is told (RFC 8461 section 7.1)."""
    try:
        guard.check(address)
        async with asyncio.timeout(TOTAL_SECONDS):
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(address, port, limit=_READ_BYTES)
            try:
                return await _look(reader, writer, host, context, ehlo_name)
            finally:
                writer.close()
    except AddressRefused as error:
        return Seen(False, reason=str(error))
    except (OSError, TimeoutError, EOFError) as error:
        return Seen(False, reason=_describe(error))


async def _look(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    host: str,
    context: ssl.SSLContext,
    ehlo_name: str,
) -> Seen:
    opening = Opening(ehlo_name)
    while opening.step not in (Step.HANDSHAKE, Step.CLOSING):
        opening.receive(await reader.read(_READ_BYTES))
        writer.write(opening.outgoing())
    if opening.step is Step.CLOSING:
        await _leave(writer)
        return _without_tls(opening)
    try:
        await writer.start_tls(context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        return Seen(True, _certificate_result(error), _token(error.verify_message))
    except (ConnectionError, EOFError, ssl.SSLError):
        return Seen(True, ResultType.VALIDATION_FAILURE, "tls-handshake-failure")
    opening.leave()
    writer.write(opening.outgoing())
    await _leave(writer)
    return Seen(True)


def _without_tls(opening: Opening) -> Seen:
    if opening.reason in (Reason.NOT_OFFERED, Reason.REFUSED):
        return Seen(True, ResultType.STARTTLS_NOT_SUPPORTED, opening.text)
    if opening.reason is Reason.BROKEN:
        return Seen(True, ResultType.VALIDATION_FAILURE, opening.text)
    return Seen(False, reason=opening.text)


def _certificate_result(error: ssl.SSLCertVerificationError) -> ResultType:
    if error.verify_code == _HAS_EXPIRED:
        return ResultType.CERTIFICATE_EXPIRED
    if error.verify_code == _HOSTNAME_MISMATCH:
        return ResultType.CERTIFICATE_HOST_MISMATCH
    return ResultType.CERTIFICATE_NOT_TRUSTED


async def _leave(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_LEAVE_SECONDS):
            await writer.drain()


def _token(text: str) -> str:
    """OpenSSL's words as Postfix writes them into reports."""
    words = text.partition(",")[0].partition(":")[0]  # what follows names this host
    return "_".join(words.split())[:100]


def _describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
