"""TLS as a client that looks: the chain as presented, and what OpenSSL thinks of it, whether or not it is trusted.

Python 3.11's ssl shows no chain and no certificate that it does not trust; pyOpenSSL does both, and gives OpenSSL's own
judgement, which is that of most senders. Nothing secret ever goes through such a connection.
"""

import asyncio
import ssl
from functools import lru_cache
from pathlib import Path

from OpenSSL import SSL, crypto

from mailward.core.check.facts import Tls, TrustError
from mailward.core.names import MAX_NAME_LENGTH

MAX_HANDSHAKE_BYTES = 256 * 1024
MAX_CHAIN = 20
VERSIONS = (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION, SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)
_MAX_ERRORS = 50
_READ_BYTES = 16 * 1024
_TEXTS = {
    2: "unable to get issuer certificate",
    7: "certificate signature failure",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    22: "certificate chain too long",
    23: "certificate revoked",
    24: "invalid CA certificate",
    25: "path length constraint exceeded",
    26: "unsuitable certificate purpose",
    66: "certificate key too weak",
    67: "CA certificate key too weak",
    68: "CA signature digest algorithm too weak",
}
"""OpenSSL's words (X509_verify_cert_error_string), which pyOpenSSL does not hand on."""


class TlsFailed(Exception):
    """No handshake; the text has OpenSSL's words."""

    code = "tls"


class TlsLook:
    """One connection's TLS over memory. After every call, send what `outgoing()` returns."""

    def __init__(self, host: str, ca_file: Path | None = None, version: int | None = None) -> None:
        """`host` for SNI. `ca_file` replaces the system's authorities. `version`: one of VERSIONS, no other is then
        offered. Raises TlsFailed where `ca_file` is unusable.
        """
        self._tls = SSL.Connection(_context(ca_file, version), None)
        self._errors: list[TrustError] = []
        self._tls.set_app_data(self._errors)
        if len(host) <= MAX_NAME_LENGTH:  # OpenSSL takes no longer ones, and no host has one
            self._tls.set_tlsext_host_name(host.encode("ascii"))
        self._tls.set_connect_state()
        self._received = 0
        self.ready = False
        """Whether the handshake is over."""
        self._step()

    def outgoing(self) -> bytes:
        parts = []
        try:
            while part := self._tls.bio_read(_READ_BYTES):
                parts.append(part)
        except SSL.WantReadError:
            pass
        return b"".join(parts)

    def receive(self, data: bytes) -> bytes:
        """The plain text that `data` completes. Raises TlsFailed; `outgoing()` then holds the alert."""
        self._received += len(data)
        if not self.ready and self._received > MAX_HANDSHAKE_BYTES:
            raise TlsFailed(f"the handshake takes more than {MAX_HANDSHAKE_BYTES} bytes")
        self._tls.bio_write(data)
        if not self.ready:
            self._step()
        return self._read() if self.ready else b""

    def send(self, data: bytes) -> None:
        self._tls.send(data)

    def facts(self) -> Tls:
        chain = self._tls.get_peer_cert_chain() or []
        return Tls(
            self._tls.get_protocol_version_name(),
            self._tls.get_cipher_name() or "",
            tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, each) for each in chain[:MAX_CHAIN]),
            tuple(dict.fromkeys(self._errors)),
        )

    def _step(self) -> None:
        try:
            self._tls.do_handshake()
            self.ready = True
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise TlsFailed(_say(error)) from error

    def _read(self) -> bytes:
        parts = []
        try:
            while part := self._tls.recv(_READ_BYTES):
                parts.append(part)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            pass
        except SSL.Error as error:
            raise TlsFailed(_say(error)) from error
        return b"".join(parts)


async def look_at_tls(host: str, address: str, port: int, *, ca_file: Path | None, seconds: float) -> Tls:
    """One handshake with a vetted address, and no more. Raises TlsFailed, OSError; TimeoutError is one."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(address, port, limit=_READ_BYTES)
        try:
            look = TlsLook(host, ca_file)
            writer.write(look.outgoing())
            while not look.ready:
                data = await reader.read(_READ_BYTES)
                if not data:
                    raise TlsFailed("the connection was closed during the handshake")
                look.receive(data)
                writer.write(look.outgoing())
            return look.facts()
        finally:
            writer.transport.abort()


def check_authorities(ca_file: Path | None) -> None:
    """Raises TlsFailed where the authorities cannot be used."""
    _context(ca_file)


@lru_cache(maxsize=8)
def _context(ca_file: Path | None, version: int | None = None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION if version is None else version)  # RFC 8461 §7.2
    if version is not None:
        context.set_max_proto_version(version)
    # weak keys shall be seen, and judged as findings, instead of ending the handshake
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    try:
        if ca_file is not None:
            context.load_verify_locations(str(ca_file))
        else:
            paths = ssl.get_default_verify_paths()
            context.load_verify_locations(paths.cafile, paths.capath)
    except (SSL.Error, TypeError) as error:
        raise TlsFailed(f"{ca_file or 'the system'} has no usable certificate authorities") from error
    context.set_verify(SSL.VERIFY_PEER, _note_error)
    return context


def _note_error(
    connection: SSL.Connection, _certificate: crypto.X509, number: int, depth: int, ok: int
) -> bool:
    """Called for each certificate of a chain: go on, whatever is wrong, and keep it."""
    errors: list[TrustError] = connection.get_app_data()
    if not ok and len(errors) < _MAX_ERRORS:
        errors.append(TrustError(number, depth, _TEXTS.get(number, "see X509_V_ERR of this number")))
    return True


def _say(error: SSL.Error) -> str:
    details = error.args[0] if error.args and isinstance(error.args[0], list) else []
    texts = [str(detail[-1]) for detail in details if detail]
    if not texts:
        return "the connection was closed during the handshake"  # SysCallError, ZeroReturnError
    return "; ".join(dict.fromkeys(texts))[:300]
