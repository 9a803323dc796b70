import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mailward.config import PolicyHost as PolicyHostSettings
from mailward.config import Settings
from mailward.hosting.fetchcounts import FetchCounter
from mailward.hosting.policyweb import LIMITS, PolicyHost, serve_policies
from mailward.hosting.snapshot import Snapshot, SnapshotKeeper, save_snapshot
from mailward.net.httpserver import Request, Server, serve_http
from mailward.store.services.fetches import FetchCount

HOST = "mta-sts.example.test"
URL_PATH = "/.well-known/mta-sts.txt"
# RFC 8461 section 3.2, the example, with our name
POLICY = (
    b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.test\r\nmx: *.example.test\r\nmax_age: 604800\r\n"
)
OTHER = b"version: STSv1\r\nmode: none\r\nmax_age: 60\r\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=str(tmp_path), policy_host=PolicyHostSettings(public_name="policies.provider.test"))


@pytest.fixture
def keeper(tmp_path: Path) -> SnapshotKeeper:
    save_snapshot(Snapshot(3, {HOST: POLICY, "mta-sts.other.test": OTHER}), tmp_path / "snapshot.json")
    return SnapshotKeeper(tmp_path / "snapshot.json")


@asynccontextmanager
async def policy_host(settings: Settings, keeper: SnapshotKeeper) -> AsyncIterator[Server]:
    server = await serve_policies(settings, keeper, port=0)
    try:
        yield server
    finally:
        await server.close(grace_seconds=0)


async def curl(
    server: Server, settings: Settings, *options: str, host: str = HOST, path: str = URL_PATH
) -> bytes:
    """What curl prints, or its exit status where it fails: it verifies the certificate as a sender does."""
    arguments = ["--silent", "--max-time", "10", "--cacert", str(settings.data_path / "ca" / "ca.pem")]
    arguments += [
        "--resolve",
        f"{host}:{server.port}:127.0.0.1",
        *options,
        f"https://{host}:{server.port}{path}",
    ]
    process = await asyncio.create_subprocess_exec("curl", *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output if process.returncode == 0 else f"curl exit {process.returncode}".encode()


async def raw(server: Server, settings: Settings, request: bytes, *, name: str = HOST) -> bytes:
    trusting = ssl.create_default_context(cafile=settings.data_path / "ca" / "ca.pem")
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=trusting, server_hostname=name
    )
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def test_p5_the_policy_is_a_200_of_text_plain_with_its_exact_bytes(
    settings: Settings, keeper: SnapshotKeeper
) -> None:
    async with policy_host(settings, keeper) as server:
        answer = await curl(server, settings, "--include")
        assert await curl(server, settings, host="mta-sts.other.test") == OTHER
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Type: text/plain\r\n" in head
    assert body == POLICY


async def test_p6_the_certificate_names_the_customers_host_with_delegation_too(
    settings: Settings, keeper: SnapshotKeeper
) -> None:
    # a CNAME to the provider's name changes nothing for the sender: it asks for the customer's name
    async with policy_host(settings, keeper) as server:
        assert await curl(server, settings) == POLICY
        assert await curl(server, settings, "--tls-max", "1.2") == POLICY


async def test_p7_a_name_that_is_not_hosted_is_refused_in_the_handshake(
    settings: Settings, keeper: SnapshotKeeper
) -> None:
    async with policy_host(settings, keeper) as server:
        # 35: SSL connect error
        assert await curl(server, settings, "--insecure", host="mta-sts.unknown.test") == b"curl exit 35"
        assert await curl(server, settings, "--insecure", host="example.test") == b"curl exit 35"


async def test_p7_a_connection_without_a_name_is_refused(settings: Settings, keeper: SnapshotKeeper) -> None:
    async with policy_host(settings, keeper) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            await asyncio.open_connection("127.0.0.1", server.port, ssl=context, server_hostname="")


async def test_p14_caches_are_given_a_minute(settings: Settings, keeper: SnapshotKeeper) -> None:
    async with policy_host(settings, keeper) as server:
        assert b"\r\nCache-Control: max-age=60\r\n" in await curl(server, settings, "--head")


async def test_a_withdrawn_policy_is_gone_at_once(settings: Settings, keeper: SnapshotKeeper) -> None:
    async with policy_host(settings, keeper) as server:
        assert await curl(server, settings) == POLICY
        keeper.current = Snapshot(4, {})
        assert await curl(server, settings) == b"curl exit 35"


REQUESTS = [
    (f"HEAD {URL_PATH}", HOST, 200, "HEAD is GET without the body"),
    (f"GET {URL_PATH}?x=y", HOST, 200, "a query changes nothing"),
    (f"GET {URL_PATH}", HOST.upper(), 200, "names do not know case"),
    (f"GET {URL_PATH}", f"{HOST}:8443", 200, "a port is no part of the name"),
    (f"GET {URL_PATH}", "mta-sts.other.test", 421, "another host than the certificate is for"),
    (f"GET {URL_PATH}", "", 421, "an empty host"),
    (f"POST {URL_PATH}", HOST, 405, "nothing is taken in"),
    (f"OPTIONS {URL_PATH}", HOST, 405, "nor negotiated"),
    ("GET /", HOST, 404, "no page lives here"),
    ("GET /.well-known/", HOST, 404, "no listing"),
    ("GET /.well-known/../.well-known/mta-sts.txt", HOST, 404, "paths are compared, not walked"),
    ("GET /.well-known/mta-sts.txt/", HOST, 404, "a slash more"),
    ("GET /.well-known/MTA-STS.txt", HOST, 404, "paths know case"),
    ("GET /.well-known/mailward-health", HOST, 200, "health, for this machine"),
]


@pytest.mark.parametrize("line, host, status, reason", REQUESTS, ids=[row[3] for row in REQUESTS])
async def test_requests_get_their_status_and_never_a_redirect(
    settings: Settings, keeper: SnapshotKeeper, line: str, host: str, status: int, reason: str
) -> None:
    async with policy_host(settings, keeper) as server:
        request = f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        answer = await raw(server, settings, request)
    assert int(answer.split(b" ")[1]) == status, reason
    assert b"Location:" not in answer
    assert len(answer) < 600


async def test_the_providers_own_name_has_a_certificate_and_no_policy(
    settings: Settings, keeper: SnapshotKeeper
) -> None:
    name = "policies.provider.test"
    async with policy_host(settings, keeper) as server:
        assert await curl(server, settings, host=name) == b"No policy is hosted under this name.\n"
        health = await curl(server, settings, host=name, path="/.well-known/mailward-health")
        assert health == b"ok generation=3 policies=2\n"


def test_health_is_told_to_this_machine_alone(keeper: SnapshotKeeper) -> None:
    host = PolicyHost(keeper, "policies.provider.test")
    for peer, status in (("127.0.0.1", 200), ("::1", 200), ("192.0.2.1", 404), ("", 404)):
        request = Request("GET", "/.well-known/mailward-health", "", HOST, {}, b"", peer, HOST, secure=True)
        assert host.answer(request).status == status, peer


async def test_who_fetches_a_hosted_policy_is_counted(settings: Settings, keeper: SnapshotKeeper) -> None:
    booked: list[FetchCount] = []

    def book(counts: Sequence[FetchCount]) -> int:
        booked.extend(counts)
        return len(counts)

    counter = FetchCounter(book)
    server = await serve_policies(settings, keeper, port=0, counter=counter)
    try:
        for _ in range(2):
            await curl(server, settings)
        await curl(server, settings, "--user-agent", "Google-SMTP-STS")
        await curl(server, settings, path="/")
        await curl(server, settings, host="policies.provider.test")
    finally:
        await server.close(grace_seconds=0)
    await counter.flush()
    found = {(count.domain, count.fetcher, count.network, count.status): count.fetches for count in booked}
    assert found == {
        ("example.test", "curl", "127.0.0.0/24", 200): 2,
        ("example.test", "google", "127.0.0.0/24", 200): 1,
        ("example.test", "curl", "127.0.0.0/24", 404): 1,
    }


async def test_ten_thousand_fetches_from_one_address_are_all_answered(
    settings: Settings, keeper: SnapshotKeeper
) -> None:
    """A large sender's fleet after a change of MX. Without TLS: the limits are the same, and it takes seconds."""
    host = PolicyHost(keeper, settings.policy_host.public_name, log_requests=False)
    limits = replace(LIMITS, count_loopback=True)
    server = await serve_http(host.answer, listen="127.0.0.1", limits=limits, shortcut=host.shortcut)
    request = f"GET {URL_PATH} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    whole, begun = 0, time.monotonic()
    for _ in range(20):
        # five hundred are open at once
        opened = [asyncio.open_connection("127.0.0.1", server.port) for _ in range(500)]
        streams = await asyncio.gather(*opened)
        for _, writer in streams:
            writer.write(request)
        answers = await asyncio.gather(*(reader.read() for reader, _ in streams))
        whole += sum(answer.endswith(b"\r\n\r\n" + POLICY) for answer in answers)
        for _, writer in streams:
            writer.close()
    await server.close(grace_seconds=0)
    assert whole == 10_000
    assert time.monotonic() - begun < 60
