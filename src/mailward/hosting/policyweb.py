"""Serves `/.well-known/mta-sts.txt` of every hosted domain, chosen by SNI and Host.

RFC 8461 section 3.3: GET over HTTPS, status 200, `text/plain`, no redirects. Every answer but that one is
short.
"""

import asyncio
import functools
import ipaddress
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence

from mailward.config import Settings
from mailward.hosting.certificates import IssuedCertificates
from mailward.hosting.challenges import ChallengeHost, serve_challenges
from mailward.hosting.fetchcounts import FetchCounter
from mailward.hosting.fronted import FrontedHost, serve_fronts
from mailward.hosting.notices import Notices
from mailward.hosting.numbers import policy_host_families, snapshot_health
from mailward.hosting.policyanswer import POLICY_PATH, answer_policy, make_shortcut, read_plain
from mailward.hosting.snapshot import SnapshotKeeper
from mailward.net import clock, metrics, pulse
from mailward.net.certificates import Certificates, CertificateSource
from mailward.net.httpnumbers import context_families, http_families
from mailward.net.httpserver import (
    Finished,
    HttpLimits,
    Request,
    Response,
    Server,
    Shortcut,
    refusal,
    serve_http,
)
from mailward.net.listening import at_port, inherited, open_streams
from mailward.net.networks import Networks
from mailward.net.resolver import make_resolver
from mailward.net.sealing import load_keyring

_log = logging.getLogger("mailward.hosting")

SWITCH_SECONDS = 0.0005
"""A thread that reads a hundred thousand policies gives the loop its turn after so long, not after Python's 5 ms."""
HEALTH_PATH = "/.well-known/mailward-health"
LIMITS = HttpLimits(body_bytes=0, connections=10_000, connections_an_address=1_000)
"""A large sender's whole fleet comes from one address after a change of MX: its fetches are short, so many are not
open at once; connections that stall give way.
"""
_ALLOW = ("Allow", "GET, HEAD")


class PolicyHost:
    """Answers requests from the keeper's snapshot."""

    def __init__(
        self,
        keeper: SnapshotKeeper,
        public_name: str,
        counter: FetchCounter | None = None,
        *,
        log_requests: bool = True,
    ) -> None:
        self._keeper = keeper
        self._public_name = public_name.lower()
        self._counter = counter
        self._logs = log_requests

    def is_ours(self, name: str) -> bool:
        """Whether a certificate may be made for this name."""
        return name in self._keeper.current.policies or name == self._public_name

    def answer(self, request: Request) -> Response:
        # RFC 9110 §15.5.20: a host other than the one whose certificate the client checked is misdirected
        if request.server_name is not None and request.host != request.server_name:
            return refusal(421)
        if request.path == HEALTH_PATH and _is_loopback(request.peer):
            return self._health(request)
        snapshot = self._keeper.current
        body = snapshot.policies.get(request.host)
        if body is None:
            return refusal(404, "No policy is hosted under this name.")
        if request.path != POLICY_PATH:
            return refusal(404, f"This host serves {POLICY_PATH} and nothing else.")
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"GET or HEAD\n", headers=(_ALLOW,))
        return answer_policy(request, body, snapshot.modified.get(request.host))

    def shortcut(self, data: bytes, peer: str, server_name: str | None) -> Shortcut | None:
        """The answer to a request of the plain kind for a policy that we host."""
        request = read_plain(data)
        if request is None:
            return None
        host = request.host
        snapshot = self._keeper.current
        body = snapshot.policies.get(host)
        # other spellings of the name, and names that the certificate is not for, go the long way
        if body is None or (server_name is not None and host != server_name):
            return None
        if self._counter:
            self._counter.count(host, request.user_agent, peer, 200)
        if self._logs:
            method = "HEAD" if request.head_only else "GET"
            _log_request(peer, host, method, POLICY_PATH, 200, 0.0)
        return make_shortcut(
            body,
            snapshot.modified.get(host),
            head_only=request.head_only,
            close=request.close,
            timestamp=clock.timestamp(),
        )

    def finished(self, finished: Finished) -> None:
        """After an answer that went the long way: it is counted and logged."""
        request = finished.request
        if self._counter and request and request.host in self._keeper.current.policies:
            user_agent = request.headers.get("user-agent", "")
            self._counter.count(request.host, user_agent, finished.peer, finished.status)
        if self._logs:
            asked = (request.host, request.method, request.path) if request else ("", "", "")
            _log_request(finished.peer, *asked, finished.status, finished.seconds)

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
    sockets: Sequence[socket.socket] = (),
    counter: FetchCounter | None = None,
    issued: Sequence[CertificateSource] = (),
    watch: Callable[[Certificates], None] = lambda _: None,
) -> Server:
    """Start serving what the keeper holds, on `sockets`, or else at the settings' addresses and their port or `port`.
    `watch` is given what chooses certificates. Raises OSError and the like.
    """
    own = settings.policy_host
    host = PolicyHost(keeper, own.public_name, counter, log_requests=own.log_requests)
    certificates = Certificates(settings, is_ours=host.is_ours, issued=issued)
    watch(certificates)
    return await serve_http(
        host.answer,
        sockets=sockets or open_streams(at_port(settings.policy_places, port)),
        ssl_context=certificates.server_context(),
        context_for=certificates.context_for,
        limits=LIMITS,
        on_finished=host.finished,
        shortcut=host.shortcut,
        is_proxy=make_proxy_test(own.proxies) if own.proxies else None,
    )


async def run(settings: Settings) -> None:
    """Serve until cancelled. Django must be set up."""
    sys.setswitchinterval(SWITCH_SECONDS)
    own = settings.policy_host
    keeper = SnapshotKeeper(settings.data_path / "snapshot.json", knows_leading=bool(own.fronts))
    keyring = load_keyring(settings)
    issued = IssuedCertificates(settings.data_path / "certificates.sqlite3", keyring)
    # policies are served from the saved snapshot where the database is locked, slow or gone
    await keeper.look_first()
    counter, notices = FetchCounter(reverse_name=make_reverse_lookup(settings)), Notices()
    chosen: list[Certificates] = []
    policies = await serve_policies(
        settings,
        keeper,
        sockets=inherited("policy-host"),
        counter=counter,
        issued=[issued],
        watch=chosen.append,
    )
    servers = {"policy-host": policies}
    challenges = ChallengeHost(keyring)
    if settings.acme.directories:
        servers["acme"] = await serve_challenges(settings, challenges, sockets=inherited("acme"))
    if own.fronts:
        host = PolicyHost(keeper, own.public_name, counter, log_requests=own.log_requests)
        fronted = FrontedHost(host.answer, host.finished, keeper, make_proxy_test(own.fronts))
        servers["fronts"] = await serve_fronts(settings, fronted, sockets=inherited("front"))
    metrics.tell(lambda: http_families(servers))
    metrics.tell(lambda: context_families("policy-host", chosen[0]))
    metrics.tell(lambda: policy_host_families(keeper, len(issued), counter.waiting))
    metrics.tell_health(lambda: snapshot_health(keeper))
    extra = {
        "port": servers["policy-host"].port,
        "policies": len(keeper.current.policies),
        "certificates": len(issued),
    }
    _log.info("serving", extra=extra)
    try:
        await asyncio.gather(
            notices.listen(),
            keeper.follow(notices),
            counter.follow(),
            issued.follow(notices),
            pulse.keep(),
        )
    finally:
        await asyncio.gather(*(server.close() for server in servers.values()))
        challenges.close()


def _log_request(peer: str, host: str, method: str, path: str, status: int, seconds: float) -> None:
    _log.info(
        "request",
        extra={
            "peer": peer,
            "host": host,
            "method": method,
            "path": path[:200],
            "status": status,
            "ms": round(seconds * 1000, 2),
        },
    )


def make_reverse_lookup(settings: Settings) -> Callable[[str], Awaitable[str]]:
    resolver = make_resolver(settings.dns)

    async def reverse_name(address: str) -> str:
        """The first name of an address (PTR), as its owner claims; empty: none."""
        try:
            question = ipaddress.ip_address(address.partition("%")[0]).reverse_pointer
        except ValueError:
            return ""
        records = (await resolver.lookup(question, "PTR")).records
        return records[0] if records else ""

    return reverse_name


def make_proxy_test(networks: Sequence[str]) -> Callable[[str], bool]:
    """Whether an address is in one of the networks, without a look at each for every connection. Raises ValueError for
    what is no address or network.
    """
    return functools.lru_cache(maxsize=1_000)(Networks(networks).include)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
