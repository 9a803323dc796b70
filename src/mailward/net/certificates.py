"""Which certificate a name gets: the operator's PEM files, then the development authority.

Policy host and report doors ask by the name in the client's hello (SNI). A name that no source has a
certificate for gets none: the handshake ends with the alert `unrecognized_name`, because RFC 8461 section 7.1
wants the matching chain or nothing. Issuance by ACME will be one more `CertificateSource`.

    certificates = Certificates(settings, is_ours=lambda name: name == "reports.example.test")
    server = await serve_http(..., ssl_context=certificates.server_context())
"""

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from mailward.config import Settings
from mailward.net.authority import AuthoritySource, load_authority
from mailward.net.pemfiles import PemSource
from mailward.net.tlscontext import make_server_context


class CertificateSource(Protocol):
    """Gives the context for a host name (lower case, no trailing dot), or None; quickly: on the loop."""

    def context_for(self, name: str) -> ssl.SSLContext | None: ...


class Certificates:
    """The sources that the settings name, in the order in which they are asked.

    `is_ours` tells for which names the development authority issues. Raises AuthorityUnusable and OSError.
    """

    def __init__(self, settings: Settings, *, is_ours: Callable[[str], bool]) -> None:
        folders = [settings.data_path / "certs"]
        if settings.certificates.directory:
            folders.append(Path(settings.certificates.directory))
        sources: list[CertificateSource] = [PemSource(folders)]
        if settings.certificates.development_ca:
            sources.append(AuthoritySource(load_authority(authority_folder(settings)), is_ours))
        self._sources: Sequence[CertificateSource] = sources

    def context_for(self, name: str) -> ssl.SSLContext | None:
        name = name.lower().removesuffix(".")
        for source in self._sources:
            if (context := source.context_for(name)) is not None:
                return context
        return None

    def server_context(self, default_name: str | None = None) -> ssl.SSLContext:
        """A context that picks the certificate by SNI, for any TLS server.

        A client that names nothing gets the certificate of `default_name`, and without one is turned away.
        """
        context = make_server_context()

        def choose(connection: ssl.SSLObject, name: str | None, _first: ssl.SSLContext) -> int | None:
            wanted = name or default_name
            chosen = self.context_for(wanted) if wanted else None
            if chosen is None:
                return int(ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
            connection.context = chosen
            return None

        context.sni_callback = choose
        return context


def authority_folder(settings: Settings) -> Path:
    return settings.data_path / "ca"
