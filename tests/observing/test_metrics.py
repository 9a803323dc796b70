"""/metrics of a whole installation, read by a parser that is not ours, beside what docs/metrics.md promises."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from contextlib import closing
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.xfr
import dns.zone
import pytest
from tests.cli.test_serve import until
from tests.fakes.ports import free_port
from tests.net.test_tracing import Collector
from tests.observing.installation import TOKEN, TSIG_SECRET, ZONE, Observed

ROOT = Path(__file__).parents[2]
NEED_SOMETHING = {
    "mailward_backup_timestamp_seconds",  # a backup
    "mailward_certificate_first_end_timestamp_seconds",  # a certificate of a CA's
    "mailward_relay_up",  # a relay in the settings
}
pytestmark = pytest.mark.timeout(400)  # the first test waits for a whole installation
PROCESSES = {"console", "doors", "nameserver", "policy-host", "worker"}


def documented() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Name -> type, labels, meaning; as docs/metrics.md has them."""
    page = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(mailward_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", page, re.MULTILINE)
    return {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows
    }


def test_the_page_of_metrics_is_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "write-metrics-page", "--check"], check=False)
    assert done.returncode == 0, "run scripts/write-metrics-page"


def test_what_is_documented_is_there_and_nothing_else(house: Observed) -> None:
    until(lambda: "mailward_queue_items" in house.scrape())
    found, promised = house.scrape(), documented()
    assert found.keys() <= promised.keys()
    assert promised.keys() - found.keys() == NEED_SOMETHING
    for name, metric in found.items():
        kind, labels, meaning = promised[name]
        assert metric.type == kind
        assert meaning.startswith(metric.documentation), name
        for sample in metric.samples:
            assert tuple(label for label in sample.labels if label != "le") == labels, sample


def test_every_process_answers_and_says_what_it_costs(house: Observed) -> None:
    up = house.scrape()["mailward_up"].samples
    assert {each.labels["process"]: each.value for each in up} == dict.fromkeys(PROCESSES, 1.0)
    for process in PROCESSES:
        assert house.value("mailward_process_resident_memory_bytes", process=process) > 10_000_000
        assert house.value("mailward_process_cpu_seconds_total", process=process) > 0
        assert house.value("mailward_process_open_fds", process=process) > 3


def test_a_fetched_policy_is_one_request_and_one_handshake(house: Observed) -> None:
    asked = ("mailward_http_requests_total", "mailward_tls_handshakes_total")
    before = [house.value(name, server="policy-host") for name in asked]
    assert house.fetch_policy()
    assert [house.value(name, server="policy-host") for name in asked] == [each + 1 for each in before]


def test_a_name_that_we_have_no_certificate_for_is_counted_as_such(house: Observed) -> None:
    def failed() -> float:
        return house.value("mailward_tls_handshake_failures_total", reason="no-certificate")

    before = failed()
    where = f"127.0.0.1:{house.ports['POLICY_HOST_PORT']}"
    command = ["openssl", "s_client", "-connect", where, "-servername", "mta-sts.stranger.example"]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=20)
    until(lambda: failed() == before + 1)


def test_an_answer_of_the_nameserver_is_counted_by_its_rcode(house: Observed) -> None:
    before = house.value("mailward_dns_answers_total", transport="udp", rcode="NXDOMAIN")
    query = dns.message.make_query(f"nothing.{ZONE}", "TXT")
    answer = dns.message.from_wire(house.ask_dns(query.to_wire()))
    assert answer.rcode() == dns.rcode.NXDOMAIN
    assert house.value("mailward_dns_answers_total", transport="udp", rcode="NXDOMAIN") == before + 1


def test_a_report_is_counted_by_its_door_and_by_what_became_of_it(house: Observed) -> None:
    def counts() -> list[float]:
        return [
            house.value("mailward_report_arrivals_total", door=door, outcome=outcome)
            for door, outcome in (("https", "new"), ("https", "known"), ("smtp", "quarantined"))
        ]

    before = counts()
    report = (ROOT / "tests" / "observing" / "report.json").read_bytes()
    assert [house.post_report(report) for _ in range(2)] == [201, 200]
    assert house.mail_report(b"Subject: no report\r\n\r\nnothing to read\r\n") == {}
    assert counts() == [each + 1 for each in before]
    assert house.value("mailward_reports_total", door="https", trust="unverified") >= 1
    assert house.value("mailward_report_arrival_size_bytes_sum", door="https") >= 2 * len(report)


def test_a_page_of_the_console_is_counted_and_its_health_asks_nobody(house: Observed) -> None:
    before = house.value("mailward_http_requests_total", server="console")
    assert house.get("/healthz", house.ports["CONSOLE_PORT"]) == (200, b'{"status": "ok"}\n')
    assert house.value("mailward_http_requests_total", server="console") == before
    assert house.get("/login/", house.ports["CONSOLE_PORT"])[0] == 200
    # counted once the answer has been sent
    until(lambda: house.value("mailward_http_requests_total", server="console", status="200") == before + 1)


def test_every_process_is_live_and_ready(house: Observed) -> None:
    for process in PROCESSES:
        for what in ("live", "ready"):
            status, told = house.health(f"/health/{process}/{what}")
            assert (status, told["live"], told["ready"], told["reasons"]) == (200, True, True, []), process
    assert house.get("/health/stranger/live")[0] == 404


def ask_health(house: Observed, *words: str, **environment: str) -> tuple[int, str]:
    """What a container's health check does."""
    command = [sys.executable, "-m", "mailward", "health", *words]
    done = subprocess.run(
        command, env=house.environment | environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_health_check_asks_where_the_settings_say(house: Observed) -> None:
    """The test has a port of its own, so nothing answers at the usual one."""
    status, said = ask_health(house)
    assert (status, re.findall(r"(?m)^(\S+) +ready$", said)) == (
        0,
        ["policy-host", "doors", "console", "worker", "nameserver"],
    )
    status, said = ask_health(house, "stranger")
    assert (status, "There is no process 'stranger'. There are: policy-host, " in said) == (2, True)


def test_a_health_check_whom_nobody_or_somebody_else_answers_fails(house: Observed) -> None:
    def asked_at(port: int) -> tuple[int, str]:
        return ask_health(house, MAILWARD_METRICS_LISTEN=f"[::]:{port}")

    port = free_port()
    status, said = asked_at(port)
    assert (status, said.startswith(f"mailward: [::1]:{port} does not answer: ")) == (1, True)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        port = other.getsockname()[1]
        answering = threading.Thread(target=answer_once, args=(other,))
        answering.start()
        assert asked_at(port) == (1, f"mailward: at [::1]:{port} somebody else answers\n")
        answering.join()


def test_a_health_check_asks_at_the_next_place_where_one_could_not_be_had(house: Observed) -> None:
    places = f"127.0.0.1:{free_port()} 127.0.0.1:{house.metrics_port}"
    assert ask_health(house, "policy-host", MAILWARD_METRICS_LISTEN=places) == (0, "policy-host  ready\n")
    with socket.create_server(("127.0.0.1", 0)) as other:
        answering = threading.Thread(target=answer_once, args=(other,))
        answering.start()
        places = f"127.0.0.1:{other.getsockname()[1]} 127.0.0.1:{house.metrics_port}"
        assert ask_health(house, "policy-host", MAILWARD_METRICS_LISTEN=places) == (0, "policy-host  ready\n")
        answering.join()


def answer_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"status": "ok"}')


def test_a_database_that_takes_no_writes_turns_reports_away_and_no_policy(house: Observed) -> None:
    with closing(sqlite3.connect(house.data / "mailward.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        until(lambda: house.health("/health/doors/ready")[0] == 503)
        assert house.health("/health/doors/live")[0] == 200
        assert house.health("/health/policy-host/ready")[0] == 200
        assert house.health("/health/nameserver/ready")[0] == 200
        status, told = house.health("/healthz")
        assert (status, told["status"]) == (503, "failing")
        status, said = ask_health(house)
        assert status == 1
        assert "\ndoors        NOT READY: " in said
        assert ask_health(house, "policy-host")[0] == 0
        other.execute("ROLLBACK")
    until(lambda: house.health("/healthz")[0] == 200)


def test_a_process_that_hangs_is_seen_by_its_silence_alone(house: Observed) -> None:
    worker = house.children()["worker"]
    os.kill(worker, signal.SIGSTOP)
    try:
        assert house.health("/health/worker/live")[0] == 503
        assert house.value("mailward_up", process="worker") == 0
        assert house.value("mailward_up", process="policy-host") == 1
    finally:
        os.kill(worker, signal.SIGCONT)
    until(lambda: house.health("/health/worker/live")[0] == 200)


def test_a_process_that_died_is_counted_and_asked_again(house: Observed) -> None:
    before = house.value("mailward_process_starts_total", process="worker")
    os.kill(house.children()["worker"], signal.SIGKILL)
    until(lambda: house.value("mailward_process_starts_total", process="worker") == before + 1)
    until(lambda: house.value("mailward_up", process="worker") == 1)


def test_spans_of_reports_work_and_pages_reach_the_collector(house: Observed, spans: Collector) -> None:
    report = (Path(__file__).parent / "report.json").read_bytes()
    assert house.post_report(report.replace(b'"report-id": "', b'"report-id": "traced-')) == 201
    assert house.get("/login/", house.ports["CONSOLE_PORT"])[0] == 200
    wanted = {"report", "report.accept", "report.store", "console request"}
    until(lambda: wanted <= {each.name for each in spans.spans}, seconds=60)
    until(lambda: any(each.name.startswith("work ") for each in spans.spans), seconds=60)
    assert {"mailward-doors", "mailward-console", "mailward-worker"} <= spans.services
    store = next(each for each in spans.spans if each.name == "report.store")
    above = {each.span_id: each.name for each in spans.spans if each.trace_id == store.trace_id}
    assert above.keys() >= {store.parent_span_id}
    assert sorted(above.values()) == ["report", "report.accept", "report.store"]
    told = (ROOT / "docs" / "observing.md").read_text()
    assert [each.name for each in spans.spans if f"`{each.name.split()[0]}" not in told] == []


def test_the_log_has_no_secret_even_where_it_tells_all(house: Observed) -> None:
    made = "import django; django.setup()\n"
    made += "from django.contrib.sessions.backends.db import SessionStore\n"
    made += "made = SessionStore(); made.create(); print(made.session_key)"
    session = house.run_in_django(made).strip()
    asking = urllib.request.Request(f"http://127.0.0.1:{house.ports['CONSOLE_PORT']}/login/")
    asking.add_header("Cookie", f"sessionid={session}")
    with urllib.request.urlopen(asking, timeout=60) as answer:
        assert answer.status == 200
    key = dns.tsig.Key("ns2", TSIG_SECRET, "hmac-sha256.")
    transfer = dns.zone.Zone(ZONE)
    query, _ = dns.xfr.make_query(transfer, keyring=key)
    dns.query.inbound_xfr("127.0.0.1", transfer, query, port=house.dns_port, timeout=10)
    assert house.post_report(b"no report") == 400
    assert house.post_report(b"{}", token=f"{TOKEN}x") == 404
    secrets = {
        "a report token": TOKEN,
        "a TSIG key": TSIG_SECRET,
        "a session": session,
        "what signs sessions": (house.data / "secret-key").read_text(),
        "what seals private keys": (house.data / "key").read_text().strip(),
    }
    lines = "\n".join(line for line in house.log.splitlines() if re.match(r"20\d\d-", line))
    assert " DEBUG " in lines
    assert "zone-transferred" in lines
    assert [name for name, text in secrets.items() if text in lines] == []
