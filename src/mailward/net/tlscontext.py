"""Server-side TLS contexts made from PEM text in memory."""

import os
import ssl


def make_server_context(
    pem: bytes | None = None, kind: type[ssl.SSLContext] = ssl.SSLContext
) -> ssl.SSLContext:
    """A context for TLS 1.2 and later; `pem` holds the chain, leaf first, and the key.

    Raises ssl.SSLError where the two do not fit each other or cannot be read.
    """
    context = kind(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # a sender fetches a policy once a day: tickets cost two packets and are never used
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET  # the same of TLS 1.2, which the number says nothing of
    if pem is not None:
        _load(context, pem)
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    # load_cert_chain takes only files; keys should not lie around in one
    handle = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(handle, pem)
        context.load_cert_chain(f"/proc/self/fd/{handle}", password=_refuse_password)
    finally:
        os.close(handle)


def _refuse_password() -> str:
    raise ssl.SSLError("the key is encrypted, and nobody is there to type its password")
