import asyncio
import logging
import threading
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection

from mailward.hosting import following
from mailward.hosting import snapshot as snapshot_module
from mailward.hosting.snapshot import Snapshot, SnapshotKeeper, load_saved, make_snapshot, save_snapshot
from mailward.net import clock
from mailward.store.models import Domain, HostingGeneration, Organisation, PolicyVersion
from mailward.store.queries.hosting import Hosted, HostedPolicy, hosted_policies, hosting_generation
from mailward.store.services.hosting import bump_generation

TEXT = "version: STSv1\r\nmode: testing\r\nmx: mx.example.test\r\nmax_age: 86400\r\n"


def host_policy(domain: Domain, text: str = TEXT) -> None:
    give_policy(domain, text)
    bump_generation()


def give_policy(domain: Domain, text: str) -> None:
    number = domain.versions.count() + 1
    domain.current_version = PolicyVersion.objects.create(
        organisation=domain.organisation,
        domain=domain,
        number=number,
        policy_id=f"id{number}",
        mode="testing",
        max_age_seconds=86400,
        text=text,
    )
    domain.save()


def run_sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[SnapshotKeeper]:
    keeper = SnapshotKeeper(tmp_path / "snapshot.json")
    yield keeper
    keeper.close()


def test_the_exact_text_is_served(domain: Domain) -> None:
    with clock.frozen(datetime(2026, 11, 24, 12, tzinfo=UTC)):
        host_policy(domain)
    host, since = "mta-sts.example.test", 1_795_521_600
    assert make_snapshot(hosted_policies()) == Snapshot(1, {host: TEXT.encode()}, {host: since})


def test_bodies_that_are_alike_are_one_object(tmp_path: Path) -> None:
    hosted = Hosted(1, {f"d{n}.test": HostedPolicy("".join(["te", "xt"]), n) for n in range(3)})
    save_snapshot(make_snapshot(hosted), tmp_path / "snapshot.json")
    for snapshot in (make_snapshot(hosted), load_saved(tmp_path / "snapshot.json")):
        assert len({id(body) for body in snapshot.policies.values()}) == 1
        assert snapshot.modified["mta-sts.d2.test"] == 2


def test_a_snapshot_that_an_earlier_release_saved_is_read(tmp_path: Path) -> None:
    (tmp_path / "snapshot.json").write_text('{"generation": 4, "policies": {"mta-sts.a.test": "x"}}')
    assert load_saved(tmp_path / "snapshot.json") == Snapshot(4, {"mta-sts.a.test": b"x"})


def test_a_domain_without_a_policy_is_not_hosted(domain: Domain) -> None:
    assert hosted_policies() == Hosted(0, {})


def test_an_unproved_domain_is_hosted_while_there_is_one_organisation(domain: Domain) -> None:
    host_policy(domain)
    assert "example.test" in hosted_policies().policies
    Organisation.objects.create(name="Another", report_token="another")
    assert hosted_policies().policies == {}
    Domain.objects.filter(pk=domain.pk).update(claim_verified_at=clock.now())
    assert "example.test" in hosted_policies().policies


def test_the_generation_starts_at_nothing_and_counts_changes(db: None) -> None:
    assert hosting_generation() == 0
    bump_generation()
    bump_generation()
    assert hosting_generation() == 2


def test_a_saved_snapshot_is_the_same_snapshot(tmp_path: Path) -> None:
    snapshot = Snapshot(7, {"mta-sts.example.test": TEXT.encode()}, {"mta-sts.example.test": 1_795_521_600})
    save_snapshot(snapshot, tmp_path / "snapshot.json")
    assert load_saved(tmp_path / "snapshot.json") == snapshot
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot.json"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"generation": "x"}', b"\xff\xfe", b"[]", b'{"generation": 1, "hosts": {"a": [0, null]}}'],
)
def test_a_broken_save_is_told_and_starts_empty(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "snapshot.json").write_bytes(content)
    assert load_saved(tmp_path / "snapshot.json") == Snapshot()
    assert [record.getMessage() for record in caplog.records] == ["saved-snapshot-unreadable"]


@pytest.mark.django_db(transaction=True)
def test_the_keeper_follows_the_database_and_saves(
    tmp_path: Path, keeper: SnapshotKeeper, domain: Domain
) -> None:
    host_policy(domain)
    asyncio.run(keeper.refresh())
    assert keeper.current.policies == {"mta-sts.example.test": TEXT.encode()}
    host_policy(domain, "changed")
    asyncio.run(keeper.refresh())
    assert keeper.current.policies == {"mta-sts.example.test": b"changed"}
    assert SnapshotKeeper(tmp_path / "snapshot.json").current == keeper.current


@pytest.mark.django_db(transaction=True)
def test_a_node_that_was_away_serves_nothing_of_before_unless_the_database_is_slow(
    tmp_path: Path, keeper: SnapshotKeeper, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_policy(domain)
    asyncio.run(keeper.refresh())
    saved, held = (tmp_path / "snapshot.json").read_bytes(), keeper.current
    host_policy(domain, "changed while it was away")
    for folder in ("back", "slow"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "snapshot.json").write_bytes(saved)
    back = SnapshotKeeper(tmp_path / "back" / "snapshot.json")
    assert back.current == held
    asyncio.run(back.look_first())
    assert back.current.policies == {"mta-sts.example.test": b"changed while it was away"}
    back.close()
    slow, answers = SnapshotKeeper(tmp_path / "slow" / "snapshot.json"), threading.Event()
    read = slow.read

    def wait() -> Snapshot:
        answers.wait(60)
        return read()

    monkeypatch.setattr(slow, "read", wait)
    monkeypatch.setattr(following, "SAVED_LOOK_SECONDS", 0.2)

    async def start() -> None:
        await slow.look_first()
        assert slow.current == held
        answers.set()
        await asyncio.wait_for(asyncio.shield(slow._first), 60)  # type: ignore[arg-type]  # it is under way
        assert slow.current == back.current

    asyncio.run(start())
    slow.close()


@pytest.mark.django_db(transaction=True)
def test_without_a_new_generation_nothing_is_loaded(keeper: SnapshotKeeper, domain: Domain) -> None:
    host_policy(domain)
    asyncio.run(keeper.refresh())
    before = keeper.current
    asyncio.run(keeper.refresh())
    assert keeper.current is before


@pytest.mark.django_db(transaction=True)
def test_while_the_database_fails_the_old_snapshot_serves(
    keeper: SnapshotKeeper, domain: Domain, caplog: pytest.LogCaptureFixture
) -> None:
    host_policy(domain)
    asyncio.run(keeper.refresh())
    before = keeper.current
    caplog.set_level(logging.INFO)
    caplog.clear()  # of the load above, which is logged where an earlier test left that level
    table = HostingGeneration._meta.db_table
    run_sql(f"ALTER TABLE {table} RENAME TO gone")
    try:
        asyncio.run(keeper.refresh())
        asyncio.run(keeper.refresh())
    finally:
        run_sql(f"ALTER TABLE gone RENAME TO {table}")
    assert keeper.current is before
    asyncio.run(keeper.refresh())
    events = [record.getMessage() for record in caplog.records]
    assert events == ["database-unavailable", "database-back"]


@pytest.mark.django_db(transaction=True)
def test_a_change_of_one_domain_is_read_alone(
    keeper: SnapshotKeeper, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [
        Domain.objects.create(
            organisation=domain.organisation, name=f"d{n}.test", report_token=f"r{n}", claim_token="c"
        )
        for n in range(3)
    ]
    for each in (domain, *others):
        host_policy(each)
    asyncio.run(keeper.refresh())
    asked: list[object] = []

    def ask(domain_ids: Collection[int] | None = None) -> Hosted:
        asked.append(domain_ids)
        return hosted_policies(domain_ids)

    monkeypatch.setattr(snapshot_module, "hosted_policies", ask)
    Domain.objects.filter(pk=others[0].pk).update(current_version=None)
    bump_generation(others[0].pk)
    gone = others[1].pk
    others[1].delete()
    bump_generation(gone)
    asyncio.run(keeper.refresh())
    assert asked == [frozenset((others[0].pk, gone))]
    assert set(keeper.current.policies) == {"mta-sts.example.test", "mta-sts.d2.test"}
    Domain.objects.filter(pk=others[0].pk).update(current_version=others[0].current_version)
    bump_generation(others[0].pk)
    asyncio.run(keeper.refresh())
    bodies = keeper.current.policies
    assert bodies["mta-sts.d0.test"] is bodies["mta-sts.example.test"]
    assert keeper.current.modified.keys() == bodies.keys()


def change(keeper: SnapshotKeeper, domain: Domain, text: str | None) -> Snapshot:
    """None: it has no policy any more. Returns what a process would serve that is started now without a database."""
    if text is None:
        Domain.objects.filter(pk=domain.pk).update(current_version=None)
    else:
        give_policy(domain, text)
    bump_generation(domain.pk)
    asyncio.run(keeper.refresh())
    path = keeper._path
    assert len(list(path.parent.iterdir())) <= 2
    return load_saved(path)


@pytest.mark.django_db(transaction=True)
def test_a_large_snapshot_is_behind_no_change_that_was_served(
    keeper: SnapshotKeeper, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is too large to be saved whole with each change; an id may be told of at once."""
    monkeypatch.setattr(snapshot_module, "_SAVED_AT_ONCE", 0)
    whole: list[Snapshot] = []

    def save(held: Snapshot, path: Path) -> Path:
        whole.append(held)
        return save_snapshot(held, path)

    monkeypatch.setattr(snapshot_module, "save_snapshot", save)
    other = Domain.objects.create(
        organisation=domain.organisation, name="other.test", report_token="r", claim_token="c"
    )
    for each, text in ((domain, TEXT), (other, TEXT)):
        host_policy(each, text)
    asyncio.run(keeper.refresh())
    assert change(keeper, domain, "changed") == keeper.current
    assert keeper.current.policies["mta-sts.example.test"] == b"changed"
    assert change(keeper, other, None) == keeper.current
    assert change(keeper, other, "again") == keeper.current
    assert len(whole) == 1

    # what a crash has cut off was served to nobody
    [later] = [each for each in keeper._path.parent.iterdir() if each != keeper._path]
    lines = later.read_bytes().splitlines(keepends=True)
    later.write_bytes(b"".join(lines[:2]) + lines[2][:20])
    assert "mta-sts.other.test" not in load_saved(keeper._path).policies

    # nothing is appended to what could not be appended to
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(snapshot_module, "append", fail)
        change(keeper, domain, "on a full disk")
    assert change(keeper, other, "and then") == keeper.current
    assert len(whole) == 2
    assert [each.name for each in keeper._path.parent.iterdir()] == ["snapshot.json"]


@pytest.mark.django_db(transaction=True)
def test_what_was_appended_to_an_earlier_snapshot_is_no_part_of_a_later_one(
    keeper: SnapshotKeeper, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the process was killed between the two."""
    monkeypatch.setattr(snapshot_module, "_SAVED_AT_ONCE", 0)
    host_policy(domain)
    asyncio.run(keeper.refresh())
    change(keeper, domain, "changed")
    [later] = [each for each in keeper._path.parent.iterdir() if each != keeper._path]
    content = later.read_bytes()
    save_snapshot(make_snapshot(hosted_policies()), keeper._path)
    later.write_bytes(content)
    assert load_saved(keeper._path) == make_snapshot(hosted_policies())


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_saved_is_served_all_the_same_and_saved_later(
    keeper: SnapshotKeeper, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "FULL_RELOAD_SECONDS", 0.0)
    folder = keeper._path.parent
    folder.rmdir()
    host_policy(domain)
    for _ in range(2):
        asyncio.run(keeper.refresh())
        assert keeper.current.policies == {"mta-sts.example.test": TEXT.encode()}
    folder.mkdir()
    asyncio.run(keeper.refresh())
    assert load_saved(keeper._path) == keeper.current
