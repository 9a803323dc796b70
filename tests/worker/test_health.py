"""The installation looked at by its worker: when it is due, who hears of a problem, and how often."""

import asyncio
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from tests.doctor.looking import NOBODY

from mailward.cli.standing import telling
from mailward.config import Doctor, PolicyHost, Settings
from mailward.doctor import nodes
from mailward.doctor.standing import Standing
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.models import HealthLook, Membership, Notice, OutboxItem, User
from mailward.store.services import health
from mailward.worker import health as module
from mailward.worker.health import look_now
from mailward.worker.outage import Outage

HOURS = timedelta(hours=6)


def section(*problems: str) -> list[dict[str, object]]:
    findings = [
        {"grade": "problem", "code": code, "text": f"{code} it is", "fix": "mend it"} for code in problems
    ]
    return [
        {
            "name": "disk",
            "title": "Disk",
            "findings": [{"grade": "good", "code": "fine", "text": "", "fix": ""}, *findings],
        }
    ]


@pytest.mark.django_db
def test_a_look_is_due_at_first_and_after_its_hours_and_when_asked_for() -> None:
    assert health.is_due("one", HOURS)
    health.keep("one", section(), 1.0)
    assert not health.is_due("one", HOURS)
    with clock.stepped(HOURS):
        assert health.is_due("one", HOURS)
        assert not health.is_due("one", None)
        assert health.ask()
        assert health.is_due("one", None)
    # a clock that went back must not stop it until it has caught up
    with clock.stepped(-HOURS):
        assert health.is_due("one", HOURS)


@pytest.mark.django_db
def test_nobody_asks_for_more_than_one_look_a_minute() -> None:
    assert health.is_due("one", HOURS)
    assert health.ask()
    assert not health.ask()
    health.keep("one", section(), 1.0)
    with clock.stepped(timedelta(seconds=50)):
        assert not health.ask()
    with clock.stepped(timedelta(seconds=70)):
        assert health.ask()


@pytest.mark.django_db
def test_a_problem_is_told_once_after_it_was_seen_twice(
    alice_user: User, bob_user: User, rita_user: User
) -> None:
    assert health.is_due("one", HOURS)
    assert health.keep("one", section("disk-full"), 1.0) == []
    assert not health.is_due("one", HOURS)
    with clock.stepped(timedelta(minutes=6)):
        # it is looked at again soon, before the hours are over
        assert health.is_due("one", HOURS)
        assert health.keep("one", section("disk-full"), 1.0) == ["disk/disk-full"]
        assert not health.is_due("one", HOURS)
        assert health.keep("one", section("disk-full"), 1.0) == []
    # owner and administrator; who only reads runs nothing
    assert sorted(Notice.objects.values_list("recipient", flat=True)) == ["alice@alice.test", "bob@bob.test"]
    notice = Notice.objects.first()
    assert notice is not None
    assert (notice.subject, notice.page) == ("Mailward on one: a problem", "/health/")
    assert notice.lines[2:4] == ["- disk-full it is", "  What to change: mend it"]
    assert OutboxItem.objects.filter(kind="notice").count() == 2


@pytest.mark.django_db
def test_of_two_places_with_the_same_problem_both_are_told(alice_user: User) -> None:
    assert health.is_due("one", HOURS)
    (disk,) = section("disk-full", "disk-full")
    findings = [each | {"text": f"{place} is full"} for place, each in enumerate(disk["findings"])]  # type: ignore[arg-type,var-annotated]
    for _ in range(2):
        health.keep("one", [disk | {"findings": findings}], 1.0)
    notice = Notice.objects.get()
    assert [line for line in notice.lines if line.startswith("- ")] == ["- 1 is full", "- 2 is full"]
    assert notice.subject == "Mailward on one: 2 problems"


@pytest.mark.django_db
def test_what_was_there_for_a_moment_is_not_told_and_what_comes_back_is_told_again(alice_user: User) -> None:
    assert health.is_due("one", HOURS)
    for problems in (("disk-full",), (), ("disk-full",), ()):
        assert health.keep("one", section(*problems), 1.0) == []
    seen = [
        health.keep("one", section(*problems), 1.0) for problems in (("a",), ("a",), (), (), ("a",), ("a",))
    ]
    assert [bool(each) for each in seen] == [False, True, False, False, False, True]


@pytest.mark.django_db
def test_guests_of_the_installation_hear_nothing(alice_user: User, charlie_user: User) -> None:
    Membership.objects.filter(user=alice_user).update(notify=False)
    assert health.is_due("one", HOURS)
    for _ in range(2):
        health.keep("one", section("disk-full"), 1.0)
    assert not Notice.objects.exists()


@pytest.mark.django_db(transaction=True)
async def test_the_worker_keeps_what_the_doctor_finds(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("health")
    settings = Settings(data=str(folder), dns=NOBODY, doctor=Doctor(every_hours=1))
    assert await in_store(health.is_due, "one", HOURS)
    await look_now(settings, "one")
    row = await HealthLook.objects.aget()
    assert row.problems == ["running/not-running"]
    assert [each["name"] for each in row.sections][:3] == ["running", "settings", "host"]
    assert row.seconds > 0


@pytest.mark.django_db(transaction=True)
async def test_after_each_start_it_looks_since_settings_may_be_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, stopping = [0], asyncio.Event()

    async def look(_: Settings, machine: str) -> None:
        looks[0] += 1
        await in_store(health.keep, machine, section(), 1.0)

    monkeypatch.setattr(module, "look_now", look)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.0)
    machine = socket.gethostname()
    assert await in_store(health.is_due, machine, HOURS)
    await in_store(health.keep, machine, section(), 1.0)
    for every_hours in (0, 6):
        stopping.clear()
        settings = Settings(data=str(tmp_path), doctor=Doctor(every_hours=every_hours))
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(module.keep_health(settings, Outage(), stopping))
            await asyncio.sleep(0.3)
            stopping.set()
        assert looks == [1 if every_hours else 0]


@pytest.mark.django_db(transaction=True)
async def test_soon_after_the_start_it_looks_for_whoever_asks_once_all_services_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []
    stopping, console = asyncio.Event(), [False]

    async def look(_: Settings, machine: str) -> None:
        looks.append(console[0])
        await in_store(health.keep, machine, [], 1.0)
        stopping.set()

    def standing() -> list[Standing]:
        return [Standing("worker", serves=True, silent_seconds=0), Standing("console", console[0], 0)]

    monkeypatch.setattr(module, "look_now", look)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    async with asyncio.timeout(20), telling(tmp_path, standing), asyncio.TaskGroup() as tasks:
        tasks.create_task(module.keep_health(Settings(data=str(tmp_path)), Outage(), stopping))
        await asyncio.sleep(0.2)
        assert looks == []
        assert await in_store(health.ask)
        await asyncio.sleep(0.2)
        assert looks == []
        console[0] = True
    assert looks == [True]


@pytest.mark.django_db(transaction=True)
async def test_a_node_that_goes_or_comes_back_is_looked_at_within_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    async def look(_: Settings, machine: str) -> None:
        looks.append(clock.monotonic())
        await in_store(health.keep, machine, section(), 1.0)

    async def looked(times: int) -> int:
        while len(looks) < times:  # noqa: ASYNC110 - its loop sets no event
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)  # and not once more
        return len(looks)

    monkeypatch.setattr(module, "look_now", look)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(nodes, "EVERY_SECONDS", 0.05)
    there = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = there.sockets[0].getsockname()[1]
    settings = Settings(data=str(tmp_path), policy_host=PolicyHost(nodes=(f"127.0.0.1:{port}",)))
    stopping = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(module.keep_health(settings, Outage(), stopping))
        seen = [await looked(1)]
        there.close()
        await there.wait_closed()
        seen.append(await looked(2))
        later = clock.now() + timedelta(minutes=5)
        await in_store(
            lambda: OutboxItem.objects.create(kind="announce", key="1", attempts=3, available_at=later)
        )
        there = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        seen.append(await looked(3))
        stopping.set()
    there.close()
    assert seen == [1, 2, 3]
    # its id waits for the node that is back
    item = await OutboxItem.objects.aget(kind="announce")
    assert item.available_at <= clock.now()
