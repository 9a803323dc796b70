"""The machine: files and their modes, room on a disk, backups, what runs."""

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.doctor.looking import grades, look, make_subject, told

import mailward
from mailward.cli.serve import locked
from mailward.cli.standing import telling
from mailward.config import Backup, Certificates, Doctor, PolicyHost
from mailward.core.doctor.finding import Grade
from mailward.doctor.asking import NotAsked
from mailward.doctor.disk import look_at_disk
from mailward.doctor.growth import note_rooms
from mailward.doctor.host import look_at_host
from mailward.doctor.process import read_running
from mailward.doctor.running import look_at_running
from mailward.doctor.standing import Standing
from mailward.doctor.subject import Subject
from mailward.net import clock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As Mailward makes it."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    for name in ("key", "secret-key"):
        (data / name).write_text("secret")
        (data / name).chmod(0o600)
    return data


async def test_a_folder_as_mailward_makes_it_is_sound(folder: Path) -> None:
    assert set(await grades(look_at_host, make_subject(folder))) == {Grade.GOOD}


async def test_a_key_that_others_may_read_is_told_with_the_command(folder: Path) -> None:
    set_modes(folder, 0o755, 0o644)
    found = {each.code: each for each in await look(look_at_host, make_subject(folder))}
    assert found["folder-open"].grade is Grade.ADVICE
    assert found["secret-readable"].fix == f"chmod 0600 {folder / 'key'}"
    # whoever may not enter the folder does not reach the key
    set_modes(folder, 0o700, 0o644)
    assert await told(look_at_host, make_subject(folder)) == {}


def set_modes(folder: Path, of_folder: int, of_key: int) -> None:
    folder.chmod(of_folder)
    (folder / "key").chmod(of_key)


async def test_a_file_that_root_made_in_the_folder_of_another_is_told(folder: Path) -> None:
    os.chown(folder, 65534, 65534)
    found = {each.code: each for each in await look(look_at_host, make_subject(folder))}
    assert found["other-owner"].grade is Grade.PROBLEM
    assert found["other-owner"].fix == f"chown -R nobody: {folder}"


async def test_a_folder_of_certificates_that_the_service_cannot_read_is_told(
    folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "certificates"
    subject = make_subject(folder, certificates=Certificates(directory=str(place)))
    assert "is not there" in (await told(look_at_host, subject))["certificates-unread"]
    place.mkdir(mode=0o700)
    assert await told(look_at_host, subject) == {}
    for name in ("", "key", "secret-key"):
        os.chown(folder / name, 65534, 65534)
    assert "nobody may not read" in (await told(look_at_host, subject))["certificates-unread"]


async def test_a_folder_that_is_not_there_is_no_alarm(tmp_path: Path) -> None:
    absent = make_subject(tmp_path / "absent")
    assert Grade.PROBLEM not in await grades(look_at_host, absent) + await grades(look_at_disk, absent)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=20", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


async def test_a_disk_without_room_is_told_and_one_with_room_is_not(small_disk: Path) -> None:
    assert await told(look_at_disk, make_subject(small_disk)) == {}
    (small_disk / "much").write_bytes(bytes(1_000_000))
    found = await told(look_at_disk, make_subject(small_disk))
    assert list(found) == ["disk-full"]
    assert "of 1.0 MiB are free" in found["disk-full"]


async def test_a_disk_that_is_full_in_some_days_at_the_growth_of_the_last_ones_is_told(
    small_disk: Path,
) -> None:
    subject = make_subject(small_disk, doctor=Doctor(disk_percent=1))
    for hour in range(0, 73, 3):
        with clock.stepped(timedelta(hours=hour - 72)):
            note_rooms(subject.settings)
            note_rooms(subject.settings)
        assert await told(look_at_disk, subject) == {}, "nothing has grown"
    (small_disk / ".disk-room").unlink()
    for hour in range(0, 73, 3):
        with clock.stepped(timedelta(hours=hour)):
            (small_disk / "grows").write_bytes(bytes(8192 * hour))
            note_rooms(subject.settings)
    with clock.stepped(timedelta(hours=72)):
        found = {each.code: each for each in await look(look_at_disk, subject)}
        # 8 KiB an hour of 1 MiB
        assert "loses 192 KiB a day (over the last 3.0 days)" in found["disk-fills"].text
        assert "make the disk larger by" in found["disk-fills"].fix
        (small_disk / ".disk-room").write_text('{"x": [{"at": "2026-01-01T00:00:00", "free": "much"}]}')
        assert await told(look_at_disk, subject) == {}, "what cannot be read is gathered anew"


async def test_a_disk_without_inodes_is_told(small_disk: Path) -> None:
    for number in range(18):
        (small_disk / str(number)).touch()
    assert list(await told(look_at_disk, make_subject(small_disk))) == ["inodes-full"]


async def test_the_age_of_the_newest_backup_decides(folder: Path) -> None:
    serious = PolicyHost(public_name="policies.example.org")
    subject = make_subject(folder, doctor=Doctor(backup_hours=26), policy_host=serious)
    assert await told(look_at_disk, make_subject(folder)) == {}
    backups = folder / "backups"
    backups.mkdir()
    assert list(await told(look_at_disk, subject)) == ["no-backup"]
    for name, hours in (("old", 300), ("new", 20)):
        (backups / name).write_text("")
        at = (clock.now() - timedelta(hours=hours)).timestamp()
        os.utime(backups / name, (at, at))
    assert await told(look_at_disk, subject) == {}
    with clock.stepped(timedelta(hours=10)):
        assert "30 hours old" in (await told(look_at_disk, subject))["backup-old"]


@pytest.fixture
def two_owners() -> Iterator[tuple[Path, Path]]:
    """A data folder of nobody's, and a folder of root's beside it."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # noqa: PTH101 - others get as far as here
        data, theirs = Path(name, "data"), Path(name, "roots")
        for made in (data, theirs):
            made.mkdir(mode=0o700)
        os.chown(data, 65534, 65534)
        yield data, theirs


async def test_a_folder_of_backups_that_the_service_cannot_use_is_told_beside_all_else(
    two_owners: tuple[Path, Path],
) -> None:
    data, theirs = two_owners
    for place in (theirs, theirs / "deeper"):
        subject = make_subject(data, backup=Backup(folder=str(place)))
        found = await look(look_at_disk, subject)
        assert [each.code for each in found if each.grade is Grade.PROBLEM] == ["backup-folder"]
        assert str(place) in found[-1].text
        assert len(found) > 1, "and how much room there is"
        note_rooms(subject.settings)
        os.seteuid(65534)
        try:
            assert [each.code for each in await look(look_at_disk, subject)] == [each.code for each in found]
            note_rooms(subject.settings)
        finally:
            os.seteuid(0)


async def test_who_holds_the_lock_runs_since_its_start(folder: Path) -> None:
    assert read_running(folder) is None
    with locked(folder):
        running = read_running(folder)
        assert running is not None
        assert (running.pid, running.version) == (os.getpid(), mailward.__version__)
        assert running.since is not None
        age = clock.now() - running.since
        assert timedelta() < age < timedelta(hours=12)
    assert read_running(folder) is None


async def test_nobody_who_runs_is_a_problem_and_another_version_a_note(folder: Path) -> None:
    subject = make_subject(folder, no_database="there is none")
    only_process = [each async for each in until_database(subject)]
    assert only_process == ["not-running"]
    with locked(folder):
        (folder / "lock").write_text(f"{os.getpid()}\n0.0.9\n")
        assert [each async for each in until_database(subject)] == ["other-version"]


async def until_database(subject: Subject) -> AsyncIterator[str]:
    """Codes of what is told before the database is asked."""
    try:
        async for finding in look_at_running(subject):
            if finding.grade in (Grade.ADVICE, Grade.PROBLEM):
                yield finding.code
    except NotAsked:
        return


async def test_a_service_that_ends_again_and_again_is_missing_from_the_first_minute(folder: Path) -> None:
    ends, subject = 1, make_subject(folder, no_database="there is none")
    with locked(folder):
        async with telling(folder, lambda: [Standing("doors", serves=False, silent_seconds=0, ends=ends)]):
            assert "service-missing" not in [each async for each in until_database(subject)]
            ends = 2
            assert "service-missing" in [each async for each in until_database(subject)]


def test_a_user_who_may_not_look_is_no_answer(folder: Path) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            read_running(folder)
    finally:
        os.seteuid(0)
