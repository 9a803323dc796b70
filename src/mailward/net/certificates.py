"""Which certificate a name gets: the operator's PEM files, issued certificates, then the development authority.

Policy host and report doors ask by the name in the client's hello (SNI). A name that no source has a
certificate for gets none: the handshake ends with the alert `unrecognized_name`, because RFC 8461 section 7.1
wants the matching chain or nothing.

    certificates = Certificates(settings, is_ours=lambda name: name == "reports.example.test")
    server = await serve_http(..., ssl_context=certificates.server_context())

A source knows certificates, not contexts: it says which certificate a name gets (a version, cheap, at every
handshake) and gives its PEM octets (when no context of that version is in memory). The contexts of all sources
are in one bounded set here.
"""

import logging
import ssl
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Protocol

from mailward.config import Settings
from mailward.net.authority import AuthoritySource, load_authority
from mailward.net.pemfiles import PemSource
from mailward.net.tlscontext import make_server_context
from mailward.net.tlspipe import NamingContext, confirming

_log = logging.getLogger("mailward.certificates")

MAX_CONTEXTS = 10_000
"""About 20 KiB each; making one costs half a millisecond."""
MAX_SESSIONS = 16
"""Of TLS 1.2, which OpenSSL keeps for two hours in each context, 1 KiB each, and Python cannot forbid: a context that
has more is made anew. Otherwise whoever asks for all names again and again fills the memory.
"""


class CertificateSource(Protocol):
    """Knows certificates, from memory or the local disk.

    Both methods are called on the event loop in the middle of a handshake: they never ask a database or the
    network, take well under a millisecond and do not raise. What changes behind them is fetched by others, such as a
    `hosting.following.Keeper`, which replaces what they look into. `name` is what a stranger sent: in lower case,
    without a trailing dot, not vetted otherwise.
    """

    def version_for(self, name: str) -> Hashable | None:
        """Which certificate `name` gets now; None where this source has none, and the next is asked.

        Asked at every handshake: as quick as looking into a dict. A version stands for one chain with one key, and is
        never used again for another: names under one certificate give the same version and share its context.
        Another version than before is served from the next handshake on; connections that are under way keep
        the certificate they began with. Whether a certificate is still valid, and which of several is best, is
        the source's to judge; one that has ended is better than none.
        """

    def load(self, name: str) -> tuple[bytes, Hashable] | None:
        """The chain, leaf first, and its private key (not encrypted) as PEM octets, with their version.

        Asked when no context of the name's version is in memory: once, or again after `MAX_CONTEXTS` others were
        asked for. None where there is nothing to be had after all (gone meanwhile, unreadable, a seal that
        does not open; the source logs why): the next source is asked. The octets are not kept.
        """


class Certificates:
    """The sources that the settings name, in the order in which they are asked, and the contexts of them all.

    `is_ours` tells for which names the development authority issues. `issued` are sources of certificates that were
    issued for us: asked after the operator's own files. Raises AuthorityUnusable and OSError.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        is_ours: Callable[[str], bool],
        issued: Sequence[CertificateSource] = (),
        max_contexts: int = MAX_CONTEXTS,
    ) -> None:
        sources: list[CertificateSource] = [PemSource(pem_folders(settings)), *issued]
        if settings.has_development_ca:
            sources.append(AuthoritySource(load_authority(authority_folder(settings)), is_ours))
        self._sources: Sequence[CertificateSource] = sources
        self._max_contexts = max_contexts
        # None: OpenSSL refuses this version. An old version is not asked for any more, and falls out at the end
        self._contexts: OrderedDict[tuple[int, Hashable], ssl.SSLContext | None] = OrderedDict()
        self.made = 0
        """Contexts, since the start."""
        self._confirm = confirming(self._choose)

    @property
    def cached(self) -> int:
        """Contexts that are in memory."""
        return len(self._contexts)

    def context_for(self, name: str) -> ssl.SSLContext | None:
        """Of the certificate that `name` gets; None where there is none."""
        name = name.lower().removesuffix(".")
        for number, source in enumerate(self._sources):
            version = source.version_for(name)
            if version is None:
                continue
            key = (number, version)
            try:
                self._contexts.move_to_end(key)
            except KeyError:
                context = self._make(number, name)
            else:
                context = self._contexts[key]
                if context is not None and context.session_stats()["number"] > MAX_SESSIONS:
                    context = self._make(number, name) or context
            if context is not None:
                return context
        return None

    def _make(self, number: int, name: str) -> ssl.SSLContext | None:
        loaded = self._sources[number].load(name)
        if loaded is None:
            return None
        pem, version = loaded
        context = None
        self.made += 1
        try:
            context = make_server_context(pem, NamingContext)
        except ssl.SSLError as error:  # such as a key that is too short for OpenSSL's security level
            _log.error("certificate-unusable", extra={"host": name, "reason": error.reason or str(error)})
        if context is not None:
            # for who was given this context at once, and for the answer to the extension that RFC 6066 §3 demands
            context.sni_callback = self._confirm
        self._contexts[number, version] = context
        if len(self._contexts) > self._max_contexts:
            self._contexts.popitem(last=False)
        return context

    def server_context(self, default_name: str | None = None) -> ssl.SSLContext:
        """A context that picks the certificate by SNI, for any TLS server.

        A client that names nothing gets the certificate of `default_name`, and without one is turned away.
        """
        context = make_server_context()

        def choose(connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> int | None:
            return self._choose(connection, name or default_name, first)

        context.sni_callback = choose
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, _first: ssl.SSLContext) -> int | None:
        chosen = self.context_for(name) if name else None
        if chosen is None:
            return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        connection.context = chosen
        return None


def pem_folders(settings: Settings) -> list[Path]:
    """Where the operator keeps certificates."""
    folders = [settings.data_path / "certs"]
    if settings.certificates.directory:
        folders.append(Path(settings.certificates.directory))
    return folders


def authority_folder(settings: Settings) -> Path:
    return settings.data_path / "ca"
