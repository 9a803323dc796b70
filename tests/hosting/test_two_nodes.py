"""Two nodes on one PostgreSQL: processes with data folders of their own, and a database that stops and comes back."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest
from tests.fakes.ports import free_port
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import json_body, post, smtp
from tests.postgresql import Server

# once is enough: the server is this test's own, whatever the others run on
pytestmark = pytest.mark.postgresql
TOKEN, ZONE = "t0ken", "sts.test"
_PORTS = ("POLICY_HOST_PORT", "NAMESERVER_PORT", "REPORTS_SMTP_PORT", "REPORTS_HTTPS_PORT")
CHILDREN = ("policy-host", "nameserver", "doors")
# what the console and the worker do, without them
PUBLISH = """
import sys, django; django.setup()
from django.db import transaction
from mailward.store.models import *
from mailward.store.services.hosting import bump_generation
number = int(sys.argv[1])
with transaction.atomic():
    o = Organisation.objects.get()
    d, _ = Domain.objects.get_or_create(organisation=o, name="example.test", defaults=dict(
        report_token="dom-example", claim_token="c", delegation_token="t0ken"))
    d.current_version = d.announced_version = PolicyVersion.objects.create(
        organisation=o, domain=d, number=number, policy_id=f"id{number}", mode="testing", max_age_seconds=86400,
        text=f"policy {number}")
    d.save()
    bump_generation(d.pk)
"""


@dataclass
class Node:
    data: Path
    database: dict[str, str]
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in _PORTS})
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MAILWARD")}
        ports = {f"MAILWARD_{name}": str(port) for name, port in self.ports.items()}
        own = {
            "DJANGO_SETTINGS_MODULE": "mailward.web.settings",
            "MAILWARD_DATA": str(self.data),
            "MAILWARD_NAMESERVER_ZONE": ZONE,
            # a server that says nothing is given up five seconds later
            "MAILWARD_DATABASE_STATEMENT_SECONDS": "2",
        }
        return kept | ports | self.database | own

    def spawn(self, *command: str) -> "subprocess.Popen[bytes]":
        with (self.data.with_suffix(".log")).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *command], env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def start(self) -> None:
        self.processes = [self.spawn("-m", "mailward", f"_{name}") for name in CHILDREN]

    def said(self, part: str) -> list[str]:
        """What a process has logged, a line each; what belongs to a line is indented below it."""
        lines = self.data.with_suffix(".log").read_text().splitlines()
        return [line for line in lines if f" {part} " in line]

    def publish(self, number: int) -> None:
        subprocess.run([sys.executable, "-c", PUBLISH, str(number)], env=self.environment, check=True)

    def policy(self) -> str:
        port, host = self.ports["POLICY_HOST_PORT"], "mta-sts.example.test"
        command = ["curl", "--silent", "--max-time", "5", "--cacert", str(self.data / "ca" / "ca.pem")]
        command += ["--resolve", f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/.well-known/mta-sts.txt"]
        return subprocess.run(command, capture_output=True, check=False).stdout.decode()

    def announced(self) -> str:
        query = dns.message.make_query(f"_mta-sts.{TOKEN}.{ZONE}", "TXT")
        try:
            answer = dns.query.udp(query, "127.0.0.1", 2, self.ports["NAMESERVER_PORT"]).answer
        except (dns.exception.Timeout, OSError):
            return ""
        return str(answer[0][0]) if answer else ""

    def serves(self, number: int) -> bool:
        return self.policy() == f"policy {number}" and f"id=id{number};" in self.announced()

    async def mail(self, report_id: str) -> str:
        """The reply to a report, as soon as the door is open."""
        async with smtp(self.ports["REPORTS_SMTP_PORT"]) as client:
            raw = google_mail(report_json(report_id=report_id))
            return (await client.send(raw, "dom-example@reports.localhost"))[:3]

    async def post(self, report_id: str) -> int:
        body = json_body(report_json(report_id=report_id))
        return await post(self.ports["REPORTS_HTTPS_PORT"], "/v1/tlsrpt/dom-example", body)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    server.create("nodes")
    yield server
    server.remove()


@pytest.fixture(scope="module")
def nodes(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    folder = tmp_path_factory.mktemp("nodes")
    nodes = (
        Node(folder / "one", server.environment("nodes")),
        Node(folder / "two", server.environment("nodes")),
    )
    # at the same moment: the tables are made once
    preparing = [node.spawn("-m", "mailward", "_prepare") for node in nodes]
    assert [process.wait(60) for process in preparing] == [0, 0]
    try:
        nodes[0].publish(1)
        for node in nodes:
            node.start()
        nodes[0].processes.append(nodes[0].spawn("-m", "mailward", "_worker"))
        yield nodes
    finally:
        for process in (process for node in nodes for process in node.processes):
            process.terminate()
        for process in (process for node in nodes for process in node.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()


def until(condition: Callable[[], object], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def both_serve(nodes: tuple[Node, Node], number: int) -> bool:
    return all(node.serves(number) for node in nodes)


async def _until_taken(node: Node, report_id: str) -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError):
                replies = await node.mail(report_id), await node.post(f"{report_id} posted")
                # 200: taken in the round before
                if replies in (("250", 201), ("250", 200)):
                    return
            await asyncio.sleep(0.2)


class TestTwoNodes:
    """In this order: each goes on where the one before stopped."""

    def test_a_policy_changed_on_one_is_served_by_both(self, nodes: tuple[Node, Node]) -> None:
        until(lambda: both_serve(nodes, 1))
        nodes[1].publish(2)
        until(lambda: both_serve(nodes, 2))

    async def test_a_database_that_hangs_is_told_to_senders_as_busy(
        self, nodes: tuple[Node, Node], server: Server
    ) -> None:
        for node in nodes:
            await _until_taken(node, f"before {node.data.name}")
        server.signal_all(signal.SIGSTOP)
        try:
            replies = await asyncio.gather(
                *(node.mail("hanging") for node in nodes), *(node.post("hanging too") for node in nodes)
            )
            assert both_serve(nodes, 2)
        finally:
            server.signal_all(signal.SIGCONT)
        assert replies == ["451", "451", 503, 503]
        for node in nodes:
            await _until_taken(node, f"after {node.data.name}")

    async def test_a_database_that_is_away_stops_nothing_but_reports(
        self, nodes: tuple[Node, Node], server: Server
    ) -> None:
        server.stop()
        replies = await asyncio.gather(
            *(node.mail("away") for node in nodes), *(node.post("away too") for node in nodes)
        )
        assert replies == ["451", "451", 503, 503]
        assert both_serve(nodes, 2)

    def test_a_node_starts_while_the_database_is_away_and_serves_what_it_knew(
        self, nodes: tuple[Node, Node]
    ) -> None:
        for process in nodes[1].processes:
            process.kill()
            process.wait()
        nodes[1].start()
        until(lambda: nodes[1].serves(2))

    async def test_when_it_is_back_all_goes_on(self, nodes: tuple[Node, Node], server: Server) -> None:
        server.start()
        for node in nodes:
            await _until_taken(node, f"again {node.data.name}")
        nodes[0].publish(3)
        until(lambda: both_serve(nodes, 3))
        # copies of a report that both took are one
        stored = server.sql("SELECT count(*), count(DISTINCT report_id) FROM store_report", "nodes")
        assert stored == "12|12"

    def test_of_all_its_tasks_the_worker_says_once_that_it_was_away(
        self, nodes: tuple[Node, Node], server: Server
    ) -> None:
        until(lambda: any(" database-back" in line for line in nodes[0].said("worker")))
        begun = len(nodes[0].said("worker"))
        server.stop()
        until(lambda: len(nodes[0].said("worker database-unavailable")) > 1)
        time.sleep(10)  # each of its tasks has tried meanwhile, some of them more than once
        server.start()
        until(lambda: nodes[0].said("worker")[-1].endswith(" database-back"))
        events = [line.split()[3] for line in nodes[0].said("worker")[begun:] if " ERROR " in line]
        assert events.count("database-unavailable") == 1
        assert set(events) <= {"database-unavailable", "timed-work-failed"}
        assert "Traceback" not in nodes[0].data.with_suffix(".log").read_text()
