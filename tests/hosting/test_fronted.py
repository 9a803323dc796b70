"""What fronts are told, and whom they speak for."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.hosting.test_snapshot import host_policy

from mailward.config import PolicyHost as PolicyHostSettings
from mailward.config import Settings
from mailward.hosting.fetchcounts import FetchCounter
from mailward.hosting.fronted import FrontedHost, serve_fronts
from mailward.hosting.policyweb import PolicyHost, make_proxy_test
from mailward.hosting.snapshot import Snapshot, SnapshotKeeper, load_saved, save_snapshot
from mailward.monitor.expected import RecordKey, State
from mailward.net import clock
from mailward.net.httpserver import Request
from mailward.store.models import Domain, OutboxItem, RecordCheck
from mailward.store.queries import hosting
from mailward.store.services.domains import record_states
from mailward.store.services.fetches import FetchCount

HOST, POLICY = "mta-sts.example.test", b"version: STSv1\r\nmode: none\r\nmax_age: 60\r\n"
FRONT, OTHER_FRONT, CLIENT = "10.0.0.1", "10.0.0.2", "192.0.2.7"


@pytest.fixture
def keeper(tmp_path: Path) -> SnapshotKeeper:
    policies = {HOST: POLICY, "mta-sts.unproved.test": POLICY}
    save_snapshot(Snapshot(3, policies, {}, frozenset([HOST])), tmp_path / "snapshot.json")
    return SnapshotKeeper(tmp_path / "snapshot.json", knows_leading=True)


def fronted(
    keeper: SnapshotKeeper, counter: FetchCounter | None = None, front: str = "10.0.0.0/8"
) -> FrontedHost:
    host = PolicyHost(keeper, "policies.provider.test", counter, log_requests=False)
    return FrontedHost(host.answer, host.finished, keeper, make_proxy_test([front]))


def request(path: str, *, query: str = "", method: str = "GET", **headers: str) -> Request:
    fields = {name.replace("_", "-"): text for name, text in headers.items()}
    return Request(method, path, query, HOST, fields, b"", FRONT, None, secure=False)


ASKED = [
    (f"domain={HOST}", 200, "hosted, proved, and leads to us"),
    ("domain=MTA-STS.Example.Test.", 200, "names do not know case, nor a last dot"),
    ("domain=mta-sts.unproved.test", 404, "hosted, but it is not known to lead to us"),
    ("domain=mta-sts.unknown.test", 404, "not hosted"),
    ("domain=example.test", 404, "the domain itself is somebody else's matter"),
    ("domain=policies.provider.test", 404, "our own name has no policy"),
    ("domain=", 404, "no name"),
    ("", 404, "no question"),
    (f"domain={HOST}&domain={HOST}", 404, "two names"),
    ("a&b&c&d&e=1&f=1&g=1&h=1&i=1", 404, "too many fields"),
    ("domain=" + "a" * 10_000, 404, "too long"),
    ("domain=%ff%00", 404, "no name at all"),
]


@pytest.mark.parametrize("query, status, reason", ASKED, ids=[row[2] for row in ASKED])
def test_a_certificate_may_be_ordered_for_names_that_lead_to_us_alone(
    keeper: SnapshotKeeper, query: str, status: int, reason: str
) -> None:
    assert fronted(keeper).answer(request("/ask", query=query)).status == status, reason


def test_a_name_that_is_hosted_no_longer_gets_none(keeper: SnapshotKeeper) -> None:
    keeper.current = Snapshot(4, {}, {}, frozenset([HOST]))
    assert fronted(keeper).answer(request("/ask", query=f"domain={HOST}")).status == 404


def test_clients_of_the_front_cannot_ask_and_see_no_health(keeper: SnapshotKeeper) -> None:
    host = fronted(keeper, front="127.0.0.0/8")
    for path in ("/ask", "/.well-known/mailward-health"):
        through = request(path, query=f"domain={HOST}", x_forwarded_for=CLIENT)
        assert host.answer(through).status == 404
    assert host.answer(request("/ask", query=f"domain={HOST}", method="POST")).status == 405


CLIENTS = [
    (CLIENT, CLIENT, "the one that the front saw"),
    (f"203.0.113.9, {CLIENT}", CLIENT, "what the client says of itself is its own word"),
    (f"{CLIENT}, {OTHER_FRONT}", CLIENT, "a front behind a front"),
    ("2001:db8::1", "2001:db8::1", "IPv6"),
    (f"{CLIENT}, nonsense", FRONT, "nothing that can be believed"),
    (", ".join([CLIENT, *[OTHER_FRONT] * 16]), FRONT, "too many"),
    (OTHER_FRONT, FRONT, "fronts alone"),
]


@dataclass
class Counting:
    counts: list[FetchCount]

    def __call__(self, counts: Sequence[FetchCount]) -> int:
        self.counts += counts
        return len(counts)


@pytest.mark.parametrize("field, client, reason", CLIENTS, ids=[row[2] for row in CLIENTS])
def test_the_client_that_the_front_names_is_counted(
    keeper: SnapshotKeeper, field: str, client: str, reason: str
) -> None:
    seen: list[str] = []
    host = FrontedHost(
        lambda request: seen.append(request.peer) or fronted(keeper).answer(request),  # type: ignore[func-returns-value]
        lambda _: None,
        keeper,
        make_proxy_test(["10.0.0.0/8"]),
    )
    answer = host.answer(request("/.well-known/mta-sts.txt", x_forwarded_for=field))
    assert (answer.status, answer.body, seen) == (200, POLICY, [client]), reason


async def ask_by_http(port: int, *lines: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("".join(f"{line}\r\n" for line in (*lines, "Connection: close", "")).encode())
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_fronts_alone_are_answered_over_plain_http(keeper: SnapshotKeeper, tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), policy_host=PolicyHostSettings(front_listen=("127.0.0.1",)))
    counting = Counting([])
    counter = FetchCounter(counting)
    fetch = ("GET /.well-known/mta-sts.txt HTTP/1.1", f"Host: {HOST}", f"X-Forwarded-For: {CLIENT}")
    for networks, begins in (("127.0.0.1", b"HTTP/1.1 200 OK\r\n"), ("127.0.0.2", b"")):
        server = await serve_fronts(settings, fronted(keeper, counter, networks), port=0)
        try:
            answer = await ask_by_http(server.port, *fetch)
            asked = await ask_by_http(server.port, f"GET /ask?domain={HOST} HTTP/1.1", "Host: 127.0.0.1")
        finally:
            await server.close(grace_seconds=0)
        assert answer.startswith(begins)
        assert asked.startswith(begins)
        assert answer.endswith(POLICY if begins else b"")
    await counter.flush()
    assert [(count.domain, count.network, count.fetches) for count in counting.counts] == [
        ("example.test", "192.0.2.0/24", 1)
    ]


@dataclass
class Seen:
    state: str
    key: str = RecordKey.POLICY_HOST
    detail: str = ""
    observed: tuple[str, ...] = ()


def test_the_words_of_the_store_are_those_of_the_monitor() -> None:
    assert (hosting.POLICY_HOST, hosting.RIGHT, hosting.UNKNOWN) == (
        RecordKey.POLICY_HOST,
        State.RIGHT,
        State.UNKNOWN,
    )


@pytest.mark.django_db(transaction=True)
def test_a_look_that_finds_another_answer_is_known_to_the_policy_host_at_once(
    domain: Domain, tmp_path: Path
) -> None:
    keeper = SnapshotKeeper(tmp_path / "own.json", knows_leading=True)
    host_policy(domain)

    def after(state: State) -> frozenset[str]:
        record_states(domain.pk, [Seen(state)])
        asyncio.run(keeper.refresh())
        return keeper.current.leading

    assert after(State.RIGHT) == frozenset()  # it is not proved
    Domain.objects.filter(pk=domain.pk).update(claim_verified_at=clock.now())
    assert after(State.MISSING) == frozenset()
    OutboxItem.objects.all().delete()
    assert after(State.RIGHT) == {HOST}
    # what waited for its certificate is looked at
    assert list(OutboxItem.objects.values_list("kind", "key")) == [("announce", str(domain.pk))]
    RecordCheck.objects.update(was_right=True)
    generation = keeper.current.generation
    assert after(State.UNKNOWN) == {HOST}
    assert keeper.current.generation == generation
    assert load_saved(tmp_path / "own.json") == keeper.current
    assert after(State.WRONG) == frozenset()
    keeper.close()
