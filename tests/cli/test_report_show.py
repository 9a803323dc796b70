"""`mailward report show`, as it is typed."""

import csv
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
POLICY = {
    "policy-type": "sts",
    "policy-string": ["version: STSv1", "mode: testing", "mx: *.example.com", "max_age: 604800"],
    "policy-domain": "example.com",
    "mx-host": ["*.example.com"],
}
FAILURE = {
    "result-type": "starttls-not-supported",
    "sending-mta-ip": "192.0.2.1",
    "receiving-mx-hostname": "mx1.example.com",
    "failed-session-count": 2,
}


def write_report(organisation: str, ok: int, *failures: dict[str, object]) -> dict[str, object]:
    summary = {"total-successful-session-count": ok, "total-failure-session-count": 2 * len(failures)}
    details = {"failure-details": failures} if failures else {}
    return {
        "organization-name": organisation,
        "date-range": {"start-datetime": "2024-09-03T00:00:00Z", "end-datetime": "2024-09-03T23:59:59Z"},
        "contact-info": "smtp-tls-reporting@google.com",
        "report-id": "2024-09-03T00:00:00Z_example.com",
        "policies": [{"policy": POLICY, "summary": summary, **details}],
    }


REPORT = write_report("Google Inc.", 53)
BROKEN = write_report("Mail.ru", 1, FAILURE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.json").write_text(json.dumps(REPORT))
    (tmp_path / "broken.json").write_text(json.dumps(BROKEN))
    (tmp_path / "README.md").write_text("not a report")
    return tmp_path


def show(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mailward", "report", "show", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_report_is_printed_as_a_document(folder: Path) -> None:
    done = show(folder / "good.json")
    assert done.stdout.startswith("ENCRYPTED All 53 sessions were encrypted.\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout


def test_a_bad_file_is_named_with_its_reason_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "bad.json").write_text('{"organization-name": "x"')
    done = show(folder)
    assert done.returncode == 1
    assert done.stderr.startswith("mailward: bad.json: ")
    assert "(json-truncated)" in done.stderr
    assert "All 53 sessions were encrypted." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gone.json"], "gone.json: No such file or directory"),
        (["--domain", "no_domain", "good.json"], "--domain: "),
        (["--output", "gone/x", "good.json"], "--output: gone/x: No such file or directory"),
        (["--csv", "--html", "good.json"], "choose one of --jsonl, --csv and --html"),
        (["--max-inflated-mib", "0", "good.json"], "--max-inflated-mib"),
        (["empty"], "nothing to read in empty"),
        ([], "FILE"),
    ],
)
def test_what_cannot_be_done_is_said_with_status_2(folder: Path, arguments: list[str], sentence: str) -> None:
    (folder / "empty").mkdir()
    command = [sys.executable, "-m", "mailward", "report", "show", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 2
    said = done.stderr + done.stdout
    assert sentence in said.decode()
    assert b"Traceback" not in said


def test_jsonl_has_one_line_a_file_named_from_the_folder(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "bad.json").write_text("{")
    rows = [json.loads(line) for line in show("--jsonl", folder).stdout.splitlines()]
    assert [(row["file"], row["outcome"]) for row in rows] == [
        ("broken.json", "reports"),
        ("good.json", "reports"),
        ("sub/bad.json", "rejected"),
    ]


def test_csv_is_one_table_for_all_files(folder: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(show("--csv", folder).stdout)))
    assert [(row["file"], row["row"], row["failed_sessions"]) for row in rows] == [
        ("broken.json", "policy", "2"),
        ("broken.json", "failure", "2"),
        ("good.json", "policy", "0"),
    ]


def test_html_goes_to_the_file_that_is_named(folder: Path) -> None:
    page = folder / "page.html"
    done = show("--html", "--output", page, folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert page.read_text().startswith("<!doctype html>")
    assert "MX" in page.read_text()


def test_documents_can_go_to_a_file_too(folder: Path) -> None:
    show("--output", folder / "out.text", folder / "good.json")
    assert "All 53 sessions were encrypted." in (folder / "out.text").read_text()


def test_a_file_that_is_read_can_be_replaced_by_its_document(folder: Path) -> None:
    done = show("--html", folder / "good.json", "--output", folder / "good.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "All 53 sessions were encrypted." in (folder / "good.json").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "broken.json", "good.json"]


def test_nothing_read_leaves_the_file_as_it_was(folder: Path) -> None:
    (folder / "page.html").write_text("of yesterday")
    assert show("--html", folder / "gone.json", "--output", folder / "page.html").returncode == 2
    assert (folder / "page.html").read_text() == "of yesterday"


@pytest.mark.parametrize("form", ["--jsonl", "--csv", "--html", None])
def test_a_full_disk_is_one_sentence(folder: Path, form: str | None) -> None:
    command = [sys.executable, "-m", "mailward", "report", "show", *([form] if form else []), str(folder)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.stderr == b"mailward: standard output: No space left on device\n"
    assert done.returncode == 2
    to_file = show(folder, *([form] if form else []), "--output", "/dev/full")
    assert to_file.stderr == "mailward: --output: /dev/full: No space left on device\n"


def test_closed_streams_are_one_sentence(folder: Path) -> None:
    command = f"{sys.executable} -m mailward report show"
    for line, sentence in (
        (f"{command} {folder} >&-", b"mailward: standard output is closed\n"),
        (f"{command} - <&-", b"mailward: standard input: it is closed (not-readable)\n"),
    ):
        done = subprocess.run(["bash", "-c", line], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (2, sentence)


def test_a_terminal_without_unicode_gets_the_like(folder: Path) -> None:
    command = [sys.executable, "-m", "mailward", "report", "show", str(folder)]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert b"\n-- broken.json\n" in b"\n" + done.stdout
    assert b"  | version: STSv1\n" in done.stdout
    assert done.stdout.isascii()


def test_an_interrupt_ends_it_without_a_traceback(folder: Path) -> None:
    command = [sys.executable, "-m", "mailward", "report", "show", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        # more than a pipe holds: when all is written, the child is reading
        child.stdin.write(b"{" * 1024 * 1024)
        child.stdin.flush()
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=20)
    assert child.returncode == 130
    assert b"Traceback" not in said


def test_standard_input_is_read(folder: Path) -> None:
    done = show("-", stdin=json.dumps(REPORT).encode())
    assert "All 53 sessions were encrypted." in done.stdout


def test_many_reports_begin_with_an_overview_and_failures_follow_in_full(folder: Path) -> None:
    for number in range(30):
        (folder / f"more{number}.json").write_text(json.dumps(BROKEN if number > 3 else REPORT))
    done = show(folder)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["Day", "Reporter", "About", "Encrypted", "Failed", "State"]
    assert len([line for line in lines if line.startswith("3 September 2024")]) == 32
    assert any(line.startswith("32 reports, 27 with failures. The first 20") for line in lines)
    assert done.stdout.count("What to do") == 20


def test_policies_of_other_domains_stand_apart(folder: Path) -> None:
    done = show("--domain", "Mine.Example", folder / "good.json")
    assert done.stdout.startswith("FOREIGN  This report is about example.com, not about mine.example.")


def test_strict_names_what_contradicts_the_rfc(folder: Path) -> None:
    wrong = {key: value for key, value in REPORT.items() if key != "contact-info"}
    (folder / "wrong.json").write_text(json.dumps(wrong))
    assert show("--strict", folder / "good.json").returncode == 0
    done = show("--strict", folder / "wrong.json")
    assert done.returncode == 1
    assert "(missing-contact-info, RFC 8460" in done.stderr
    (folder / "odd.json").write_text("\n\n" + json.dumps(REPORT) + "\n}")
    assert show("--strict", folder / "odd.json").stderr == (
        f"mailward: {folder}/odd.json: line 4: Something other than white space follows the JSON document."
        " It held: } (trailing-data, RFC 8259 §2)\n"
    )
    assert show(folder / "wrong.json").returncode == 0


def test_a_strangers_file_name_cannot_steer_the_terminal(folder: Path) -> None:
    (folder / "\x1b[2Jx.json").write_text("{")
    assert "\x1b" not in show(folder).stderr


def test_a_reader_that_goes_away_is_no_crash(folder: Path) -> None:
    for number in range(300):
        (folder / f"more{number}.json").write_text(json.dumps(BROKEN))
    command = f"{sys.executable} -m mailward report show --jsonl {folder} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert b"Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_a_person_who_waits_sees_a_bar(folder: Path) -> None:
    (folder / "padded.json").write_text(json.dumps(REPORT) + " " * 5 * 1024 * 1024)
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "mailward", "report", "show", "--jsonl", str(folder)]
    environment = os.environ | {"TERM": "xterm"}
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=terminal, env=environment, check=True)
    os.close(terminal)
    seen = b""
    try:
        while select.select([screen], [], [], 5)[0] and (piece := os.read(screen, 65536)):
            seen += piece
    except OSError:
        pass  # so a terminal says that it was closed
    os.close(screen)
    assert b"Reading" in seen


@pytest.mark.skipif(not (SHARED / "corpus").exists(), reason="the corpus of real reports is not here")
def test_every_file_of_the_corpus_is_read_as_expected(tmp_path: Path) -> None:
    corpus = SHARED / "corpus"
    results = tmp_path / "results.jsonl"
    results.write_text(show("--jsonl", corpus / "tlsrpt").stdout)
    options = ["--deviations", "--extra"]
    command: list[str | Path] = [sys.executable, corpus / "compare.py", *options]
    command += [corpus / "tlsrpt" / "expected.jsonl", results]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
