"""`mailward report import`, as a person runs it."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import json_body
from tests.prepared import prepare


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two domains."""
    folder = prepare(tmp_path_factory.mktemp("import"))
    with contextlib.closing(sqlite3.connect(folder / "mailward.sqlite3")) as database, database:
        (organisation,) = database.execute(
            "INSERT INTO store_organisation (name, report_token, created_at)"
            " VALUES ('Example', 'org', '2026-11-24') RETURNING id"
        ).fetchone()
        for name in ("example.test", "second.test"):
            database.execute(
                "INSERT INTO store_domain"
                " (organisation_id, name, report_token, claim_token, delegation_token, test_report_nonce, created_at)"
                " VALUES (?, ?, ?, 'claim', ?, '', '2026-11-24')",
                (organisation, name, name, name),
            )
    return folder


@pytest.fixture
def data(prepared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "data"))


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Three reports for two domains in as many shapes, and one file that is none."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "1.json").write_bytes(json_body(report_json()))
    (folder / "2.eml").write_bytes(google_mail(report_json("second.test", report_id="2")))
    (folder / "3.json").write_bytes(json_body(report_json("elsewhere.test", report_id="3")))
    (folder / "4.json").write_bytes(b"{broken")
    return folder


def _run(data: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {
        "MAILWARD_DATA": str(data),
        "DJANGO_SETTINGS_MODULE": "mailward.web.settings",
    }
    command = [sys.executable, "-m", "mailward", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def rows(data: Path, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(data / "mailward.sqlite3")) as database:
        return database.execute(query).fetchall()


def test_a_folder_is_imported_and_the_bad_file_is_named(data: Path, inbox: Path) -> None:
    done = _run(data, "report", "import", str(inbox), "--organisation", "Example")
    assert done.returncode == 1
    assert "4.json: " in done.stderr
    assert "4 files, 3 reports: 3 new, 0 known already, 1 about other domains" in done.stderr
    assert rows(data, "SELECT trust, counted, door, dkim_detail FROM store_report GROUP BY 1, 2") == [
        ("vouched-person", 0, "import", "Imported by mailward report import."),
        ("vouched-person", 1, "import", "Imported by mailward report import."),
    ]
    assert rows(data, "SELECT count(*) FROM store_dailysessions") == [(2,)]
    assert rows(data, "SELECT count(*) FROM store_quarantinedmessage") == [(1,)]


def test_a_second_import_changes_nothing(data: Path, inbox: Path) -> None:
    (inbox / "4.json").unlink()
    for expected in ("2 reports: 2 new, 0 known", "2 reports: 0 new, 2 known"):
        files = [str(inbox / "1.json"), str(inbox / "2.eml")]
        done = _run(data, "report", "import", *files, "--organisation", "Example")
        assert done.returncode == 0
        assert expected in done.stderr
    assert rows(data, "SELECT sum(ok) FROM store_dailysessions") == [(200,)]


def test_a_domains_address_owns_its_own_reports_only(data: Path, inbox: Path) -> None:
    _run(data, "report", "import", str(inbox), "--domain", "Example.TEST.")
    assert rows(data, "SELECT count(domain_id), count(*) FROM store_report") == [(1, 3)]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ((), "Say whose reports these are"),
        (("--domain", "a.test", "--organisation", "b"), "Say whose reports these are"),
        (("--domain", "unknown.test"), "There is no domain unknown.test here"),
        (("--domain", "not a name"), "--domain not a name:"),
        (("--organisation", "Nobody"), "'Nobody' is no organisation here"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    data: Path, inbox: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    done = _run(data, "report", "import", str(inbox), *arguments)
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr


def test_a_folder_without_database_is_said(tmp_path: Path, inbox: Path) -> None:
    done = _run(tmp_path / "empty", "report", "import", str(inbox), "--domain", "example.test")
    assert done.returncode == 2
    assert "holds no Mailward database" in done.stderr


def test_a_file_that_is_not_there_is_named(data: Path, inbox: Path) -> None:
    missing = str(inbox / "missing.json")
    done = _run(data, "report", "import", missing, str(inbox / "1.json"), "--domain", "example.test")
    assert done.returncode == 1
    assert "missing.json" in done.stderr
    assert "1 new" in done.stderr


def test_many_files_are_read_side_by_side_and_each_is_stored_once(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(700):
        (folder / f"{number}.json").write_bytes(json_body(report_json(report_id=str(number))))
    done = _run(data, "report", "import", str(folder), "--domain", "example.test")
    assert done.returncode == 0, done.stderr
    assert "700 files, 700 reports: 700 new" in done.stderr
    assert rows(data, "SELECT count(*), count(DISTINCT report_id) FROM store_report") == [(700, 700)]


def test_standard_input_is_read_once(data: Path) -> None:
    command = [sys.executable, "-m", "mailward", "report", "import", "-", "--domain", "example.test"]
    environment = os.environ | {"MAILWARD_DATA": str(data), "DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
    done = subprocess.run(
        command, env=environment, input=json_body(report_json()), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"1 files, 1 reports: 1 new" in done.stderr


def test_an_import_that_cannot_store_says_so_and_leaves_no_reader_behind(data: Path, inbox: Path) -> None:
    with contextlib.closing(sqlite3.connect(data / "mailward.sqlite3")) as database:
        database.execute("DROP TABLE store_rawmessage")
    done = _run(data, "report", "import", str(inbox), "--domain", "example.test")
    assert done.returncode == 2
    assert "no such table" in done.stderr
