"""Serves `/.well-known/mta-sts.txt` of every hosted domain, chosen by SNI and Host.

RFC 8461 section 3.3: GET over HTTPS, status 200, `text/plain`, no redirects. Every answer but that one is
short.
"""

import asyncio
import ipaddress
import logging
from collections.abc import Sequence

from mailward.config import Settings
from mailward.hosting.certificates import IssuedCertificates
from mailward.hosting.challenges import ChallengeHost, serve_challenges
from mailward.hosting.fetchcounts import FetchCounter
from mailward.hosting.snapshot import SnapshotKeeper
from mailward.net.certificates import Certificates, CertificateSource
from mailward.net.httpserver import Finished, HttpLimits, Request, Response, Server, refusal, serve_http
from mailward.net.sealing import load_keyring

_log = logging.getLogger("mailward.hosting")

POLICY_PATH = "/.well-known/mta-sts.txt"
HEALTH_PATH = "/.well-known/mailward-health"
LIMITS = HttpLimits(body_bytes=0)
# RFC 8461 §8.2: a reverse proxy may cache; 60 seconds is what the RFC suggests to the origin
_CACHE = ("Cache-Control", "max-age=60")
_ALLOW = ("Allow", "GET, HEAD")


class PolicyHost:
    """Answers requests from the keeper's snapshot."""

    def __init__(self, keeper: SnapshotKeeper, public_name: str) -> None:
        self._keeper = keeper
        self._public_name = public_name.lower()

    def is_ours(self, name: str) -> bool:
        """Whether a certificate may be made for this name."""
        return name in self._keeper.current.policies or name == self._public_name

    def serves(self, name: str) -> bool:
        """Whether a policy is hosted under this name."""
        return name in self._keeper.current.policies

    def answer(self, request: Request) -> Response:
        # RFC 9110 §15.5.20: a host other than the one whose certificate the client checked is misdirected
        if request.server_name is not None and request.host != request.server_name:
            return refusal(421)
        if request.path == HEALTH_PATH and _is_loopback(request.peer):
            return self._health(request)
        body = self._keeper.current.policies.get(request.host)
        if body is None:
            return refusal(404, "No policy is hosted under this name.")
        if request.path != POLICY_PATH:
            return refusal(404, f"This host serves {POLICY_PATH} and nothing else.")
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"GET or HEAD\n", headers=(_ALLOW,))
        return Response(200, body, content_type="text/plain", headers=(_CACHE,))

    def _health(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"GET or HEAD\n", headers=(_ALLOW,))
        snapshot = self._keeper.current
        return Response(
            200, f"ok generation={snapshot.generation} policies={len(snapshot.policies)}\n".encode()
        )


async def serve_policies(
    settings: Settings,
    keeper: SnapshotKeeper,
    *,
    port: int | None = None,
    counter: FetchCounter | None = None,
    issued: Sequence[CertificateSource] = (),
) -> Server:
    """Start serving what the keeper holds, on `port` or the settings'. Raises OSError and the like."""
    host = PolicyHost(keeper, settings.policy_host.public_name)
    certificates = Certificates(settings, is_ours=host.is_ours, issued=issued)
    return await serve_http(
        host.answer,
        listen=settings.policy_host.listen,
        port=settings.policy_port if port is None else port,
        ssl_context=certificates.server_context(),
        limits=LIMITS,
        on_finished=_Finishing(host, counter),
    )


async def run(settings: Settings) -> None:
    """Serve until cancelled. Django must be set up."""
    keeper = SnapshotKeeper(settings.data_path / "snapshot.json")
    keyring = load_keyring(settings)
    issued = IssuedCertificates(settings.data_path / "certificates.sqlite3", keyring)
    # policies are served from the saved snapshot at once: the database may be locked, slow or gone
    counter = FetchCounter()
    servers = [await serve_policies(settings, keeper, counter=counter, issued=[issued])]
    if settings.acme.directories:
        servers.append(await serve_challenges(settings, ChallengeHost(keyring)))
    extra = {"port": servers[0].port, "policies": len(keeper.current.policies), "certificates": len(issued)}
    _log.info("serving", extra=extra)
    try:
        await asyncio.gather(keeper.follow(), counter.follow(), issued.follow())
    finally:
        await asyncio.gather(*(server.close() for server in servers))


class _Finishing:
    """What is done about each answer after it was written: it is counted, and logged."""

    def __init__(self, host: PolicyHost, counter: FetchCounter | None) -> None:
        self._host, self._counter = host, counter

    def __call__(self, finished: Finished) -> None:
        request = finished.request
        if self._counter and request and self._host.serves(request.host):
            user_agent = request.headers.get("user-agent", "")
            self._counter.count(request.host, user_agent, finished.peer, finished.status)
        _log.info(
            "request",
            extra={
                "peer": finished.peer,
                "host": request.host if request else "",
                "method": request.method if request else "",
                "path": request.path[:200] if request else "",
                "status": finished.status,
                "ms": round(finished.seconds * 1000, 2),
            },
        )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
