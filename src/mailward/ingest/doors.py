"""The process that takes reports: both doors, and the one writer behind them."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mailward.config import Settings
from mailward.core.metrics.family import Family
from mailward.ingest.acceptor import Acceptor
from mailward.ingest.addresses import AddressBook
from mailward.ingest.channels.https import serve_https
from mailward.ingest.channels.smtp import SmtpLimits, SmtpServer, serve_smtp
from mailward.ingest.numbers import Examination, arrival_families, mail_families, writer_families
from mailward.net import metrics, pulse
from mailward.net.certificates import Certificates, CertificateSource
from mailward.net.httpnumbers import context_families, http_families
from mailward.net.httpserver import Server
from mailward.net.listening import at_port, inherited, open_streams
from mailward.net.networks import Networks
from mailward.net.resolver import Resolver

_log = logging.getLogger("mailward.ingest")


@dataclass(frozen=True, slots=True)
class Doors:
    """The ports that are really listened on."""

    smtp_port: int
    https_port: int


async def run(settings: Settings, issued: Sequence[CertificateSource] = ()) -> None:
    """Serve until cancelled. `issued`: certificates beside the operator's own files. Django must be set up."""
    async with open_doors(
        settings,
        smtp_sockets=inherited("smtp") or open_streams(settings.smtp_places),
        https_sockets=inherited("reports-https") or open_streams(settings.https_places),
        issued=issued,
    ) as doors:
        _log.info("serving", extra={"smtp": doors.smtp_port, "https": doors.https_port})
        await pulse.keep()


@asynccontextmanager
async def open_doors(
    settings: Settings,
    *,
    smtp_sockets: Sequence[socket.socket] = (),
    https_sockets: Sequence[socket.socket] = (),
    resolver: Resolver | None = None,
    issued: Sequence[CertificateSource] = (),
) -> AsyncIterator[Doors]:
    """Both doors, open inside the block; without sockets, at ports that the system chooses."""
    names = {settings.reports.domain.lower(), settings.https_name.lower()}
    certificates = Certificates(settings, is_ours=lambda name: name in names, issued=issued)

    def smtp_context() -> ssl.SSLContext | None:
        # senders of report mail take any certificate (RFC 8460 §3), so SNI needs no choice here, and the other door's
        # is better than none: the mail domain may have no address, and so no certificate of a CA's
        own = certificates.context_for(settings.reports.domain)
        return own or certificates.context_for(settings.https_name)

    acceptor, book = Acceptor(settings, resolver=resolver), AddressBook()
    try:
        smtp = await serve_smtp(
            acceptor,
            book,
            domain=settings.reports.domain,
            sockets=smtp_sockets or open_streams(at_port(settings.smtp_places, 0)),
            limits=SmtpLimits(message_bytes=settings.reports.max_message_bytes),
            tls_context=smtp_context,
            is_relay=Networks(settings.reports.relays).include,
            is_proxy=Networks(settings.reports.smtp_proxies).include,
        )
        try:
            https = await serve_https(
                acceptor,
                book,
                settings,
                certificates,
                sockets=https_sockets or open_streams(at_port(settings.https_places, 0)),
                is_proxy=Networks(settings.reports.https_proxies).include,
            )
        except BaseException:
            await smtp.close()
            raise
        metrics.tell(lambda: _families(acceptor, smtp, https))
        metrics.tell(lambda: context_families("doors", certificates))
        metrics.tell_health(Examination(acceptor.writer).examine)
        try:
            yield Doors(smtp.port, https.port)
        finally:
            # both at once: the supervisor's patience is for all that we have to end
            await asyncio.gather(https.close(), smtp.close())
    finally:
        await acceptor.close()


def _families(acceptor: Acceptor, smtp: SmtpServer, https: Server) -> Iterator[Family]:
    yield from arrival_families(acceptor.arrivals)
    yield from writer_families(acceptor.writer)
    yield from mail_families(smtp.door)
    yield from http_families({"report-post": https})
