"""The command, killed in the middle and begun again: every domain has one row, and nothing finished is asked again."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.survey.lab import begin, finish, make_dns, read_parquet, write_list

from mailward.survey.journal import JOURNAL, Journal

COUNT = 900


def wait_for_rows(out: Path, process: object, least: int) -> int:
    """How many names have a row when the journal has grown that far."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        journal = out / JOURNAL
        if journal.exists() and journal.stat().st_size >= least:
            return journal.stat().st_size
        time.sleep(0.005)
    raise AssertionError("no row in a minute")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_survey_that_was_stopped_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    dns, listed, out = make_dns(COUNT), write_list(tmp_path, COUNT), tmp_path / "out"
    with dns.threaded():
        words = [str(listed), "--concurrency", "40"]
        first = begin(dns, out, *words)
        wait_for_rows(out, first, 1)
        os.kill(first.pid, number)
        status, _, told = finish(first)
        with Journal(out, COUNT) as journal:
            done = [place for place in range(COUNT) if place in journal.done]
        assert 0 < len(done) < COUNT, "it was stopped too late to be a test"
        assert status == (-number if number == signal.SIGKILL else 130), told
        asked_before = len(dns.queries)
        status, told, error = finish(begin(dns, out, *words))
    assert (status, "900 domains" in told) == (0, True), error
    rows = read_parquet(out, "line, rank, domain, status, codes")
    assert rows == [(at + 1, at + 1, f"d{at:05}.test", "ok", codes(at)) for at in range(COUNT)]
    again = Counter(query.name for query in dns.queries[asked_before:] if query.rdtype == "MX")
    assert [place for place in done if again[f"d{place:05}.test"]] == []


def codes(number: int) -> str:
    return "policy-host-not-in-dns tlsrpt-missing" if number % 3 == 0 else "sts-absent tlsrpt-missing"


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    dns, listed, out = make_dns(COUNT), write_list(tmp_path, COUNT), tmp_path / "out"
    with dns.threaded():
        process = begin(dns, out, str(listed), "--concurrency", "40")
        wait_for_rows(out, process, 1)
        (server,) = [
            pid for pid in children(process.pid) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        workers = children(server)
        os.kill(workers[0], signal.SIGKILL)
        status, _, error = finish(process)
    assert (status, len(workers)) == (0, 2), error
    assert [row[0] for row in read_parquet(out, "domain")] == [f"d{at:05}.test" for at in range(COUNT)]


def test_when_all_is_done_the_same_command_writes_the_results_again(tmp_path: Path) -> None:
    dns, listed, out = make_dns(30), write_list(tmp_path, 30), tmp_path / "out"
    with dns.threaded():
        assert finish(begin(dns, out, str(listed)))[0] == 0
        before, asked = (out / "results.csv").read_bytes(), len(dns.queries)
        (out / "results.csv").unlink()
        assert finish(begin(dns, out))[0] == 0  # the list is not needed any more
        assert len(dns.queries) == asked
    assert (out / "results.csv").read_bytes() == before
