"""Postfix of Debian with the files of docs/behind/postfix.md, before the real doors."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from django.db import connection
from tests.behind.recipes import read_recipe
from tests.behind.site import CONFIG
from tests.databases import held_writes
from tests.fakes.dns import FakeDns
from tests.fakes.ports import free_port
from tests.fakes.signer import Signer, google_mail, report_json
from tests.ingest.conftest import smtp
from tests.settings import IS_POSTGRESQL

from mailward.config import Settings, load_settings
from mailward.ingest.doors import open_doors
from mailward.lab.mta import HOME, Postfix, find_tree
from mailward.lab.network import Network
from mailward.net.listening import open_streams
from mailward.net.resolver import Resolver
from mailward.store.aio import in_store
from mailward.store.models import Report

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="programs of a Debian tree run as root only"),
    pytest.mark.usefixtures("domain"),
]
ADDRESS = "dom-example@reports.example.org"
ORGANISATION = "org-example@reports.example.org"
GOOGLE = Signer("google.test")
MAIL = GOOGLE.sign(google_mail(report_json()))


class Here(Network):
    """Not in a namespace: on this machine's loopback, at ports of its own."""

    def __init__(self) -> None:
        pass

    def inside(self, host: str) -> list[str]:
        return []


@dataclass
class Bed:
    postfix: Postfix
    settings: Settings
    dns: FakeDns

    async def mail(self, raw: bytes, *recipients: str) -> str:
        """What a reporter is told at last."""
        async with smtp(self.postfix.smtp_port) as client:
            return await client.send(raw, *recipients)

    @asynccontextmanager
    async def door(self) -> AsyncIterator[None]:
        """Mailward's, open inside the block."""
        resolver = Resolver([self.dns.address], timeout_seconds=2)
        sockets = open_streams(self.settings.smtp_places)
        async with open_doors(self.settings, smtp_sockets=sockets, resolver=resolver):
            yield

    async def tried(self, text: str, count: int) -> None:
        """Until Postfix has logged it so many times; addresses that it asked about do not count."""
        await asyncio.to_thread(self.postfix.wait_for_count, text, count)

    def queue(self) -> str:
        return self.postfix.command("postqueue", "-c", HOME, "-p").strip()


def parameters(text: str) -> dict[str, str]:
    """Of a main.cf: lines that begin with a blank go on (postconf(5))."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1].isspace() and line.strip():
            found[name] += " " + line.strip()
        elif line and not line.startswith("#"):
            name, _, value = (part.strip() for part in line.partition("="))
            found[name] = value
    return found


@pytest.fixture
def impatient() -> Iterator[None]:
    """A busy timeout that tests can wait for; PostgreSQL's is in tests/postgresql.py."""
    before = dict(connection.settings_dict["OPTIONS"])
    if not IS_POSTGRESQL:
        connection.settings_dict["OPTIONS"]["timeout"] = 0.2
    yield
    connection.settings_dict["OPTIONS"] = before


@pytest.fixture(scope="module", params=["trixie", pytest.param("bookworm", marks=pytest.mark.long)])
def postfix(request: pytest.FixtureRequest) -> Iterator[Postfix]:
    folder = Path(tempfile.mkdtemp(prefix="behind-", dir=find_tree("trixie").parent))
    folder.chmod(0o755)
    made = Postfix.unpack(request.param, folder / "root", Here(), "mx")
    made.smtp_port, door = free_port(), free_port()
    main = read_recipe(
        "postfix.md", "/etc/postfix/main.cf", {"127.0.0.1]:2525": f"127.0.0.1]:{door}", "/etc/postfix": HOME}
    )
    master = read_recipe("postfix.md", "/etc/postfix/master.cf", {})
    never = read_recipe("postfix.md", "/etc/postfix/mailward-never", {})
    # the name of the door: by SMTP Postfix would see a loop
    named = {"myhostname": "reports.example.org", "mynetworks": "192.0.2.1"}
    made.configure(parameters(main) | named, master.splitlines(), {"mailward-never": never.encode()})
    (folder / "door").write_text(str(door))
    try:
        made.start()
        yield made
    finally:
        made.command("postfix", "-c", HOME, "stop")
        shutil.rmtree(folder)


@pytest.fixture
async def bed(postfix: Postfix, tmp_path: Path, transactional_db: None) -> AsyncIterator[Bed]:
    """The door is closed, and nothing has been said yet."""
    port = (postfix.root.parent / "door").read_text()
    config = tmp_path / "mailward.toml"
    config.write_text(read_recipe("postfix.md", CONFIG, {"smtp_port = 2525": f"smtp_port = {port}"}))
    environment = {"MAILWARD_DATA": str(tmp_path), "MAILWARD_REPORTS_HTTPS_PORT": str(free_port())}
    postfix.leave_log()
    async with FakeDns() as dns:
        GOOGLE.publish(dns)
        yield Bed(postfix, load_settings(config, environment), dns)


def stored() -> list[tuple[str, str, int]]:
    return sorted(Report.objects.values_list("trust", "signer", "copies"))


def odd_mail() -> bytes:
    """What relays change: a dot that begins a line, 8-bit text, a line of more than 998 octets, blanks at an end."""
    text = "This is an aggregate TLS report from google.test"
    odd = f".\r\n..\r\nGr\u00fc\u00dfe  \r\n{'x' * 5_000}\r\n".encode()
    mail = google_mail(report_json(report_id="odd"))
    return mail.replace(text.encode() + b"\r\n", odd).replace(
        b"delsp=yes\r\n", b"delsp=yes\r\nContent-Transfer-Encoding: 8bit\r\n"
    )


async def test_a_report_arrives_with_its_signature_whole(bed: Bed) -> None:
    async with bed.door():
        for raw in (GOOGLE.sign(google_mail(report_json())), GOOGLE.sign(odd_mail())):
            assert (await bed.mail(raw, ADDRESS, ORGANISATION)).startswith("250")
        await bed.tried(f"to=<{ADDRESS}>", 2)
        await bed.tried(f"to=<{ORGANISATION}>", 2)
    assert await in_store(stored) == [("verified", "google.test", 2)] * 2


async def test_what_mailward_does_not_know_is_refused_at_once(bed: Bed) -> None:
    async with bed.door():
        assert (await bed.mail(MAIL, "nobody@reports.example.org")).startswith("550 5.1.1")
        assert (await bed.mail(MAIL, "somebody@elsewhere.test")).startswith("454 4.7.1")
    assert bed.queue() == "Mail queue is empty"


async def test_a_busy_database_makes_postfix_keep_the_report(bed: Bed, impatient: None) -> None:
    async with bed.door():
        with held_writes() as let_go:
            assert (await bed.mail(MAIL, ADDRESS)).startswith("250")
            await bed.tried("status=deferred (host 127.0.0.1[127.0.0.1] said: 451 4.3.0", 1)
            assert await in_store(stored) == []
            let_go()
        await asyncio.to_thread(bed.postfix.try_again, [ADDRESS])
    assert await in_store(stored) == [("verified", "google.test", 1)]


async def test_while_mailward_is_away_known_addresses_are_queued_for(bed: Bed) -> None:
    async with bed.door():
        await bed.mail(MAIL, ADDRESS)
        await bed.tried(f"to=<{ADDRESS}>", 1)
    bed.postfix.leave_log()
    assert (await bed.mail(GOOGLE.sign(odd_mail()), ADDRESS)).startswith("250")
    assert (await bed.mail(MAIL, "not-asked-for@reports.example.org")).startswith("450 4.1.1")
    await bed.tried("status=deferred (connect to 127.0.0.1[127.0.0.1]", 1)
    async with bed.door():
        await asyncio.to_thread(bed.postfix.try_again, [ADDRESS])
    assert await in_store(stored) == [("verified", "google.test", 1)] * 2


@pytest.mark.parametrize("asked", ["", " NOTIFY=SUCCESS,FAILURE"], ids=["as usual", "who asks for notices"])
async def test_nobody_is_told_of_a_report_that_is_refused_late(bed: Bed, asked: str) -> None:
    """The sender is a name that anybody can write."""
    own = msgspec.structs.replace(bed.settings.reports, max_message_bytes=500)
    bed.settings = msgspec.structs.replace(bed.settings, reports=own)
    async with bed.door(), smtp(bed.postfix.smtp_port) as client:
        await client.command("MAIL FROM:<victim@elsewhere.test>")
        assert (await client.command(f"RCPT TO:<{ADDRESS}>{asked}")).startswith("250")
        await client.command("DATA")
        client.writer.write(MAIL + b".\r\n")
        assert (await client.reply()).startswith("250")
        await bed.tried("status=bounced", 1)
        await bed.tried(": removed", 1)
    assert "notification" not in bed.postfix.log()
    assert bed.queue() == "Mail queue is empty"


async def test_a_mail_that_mailward_would_refuse_is_too_large_for_postfix(bed: Bed) -> None:
    too_large = bed.settings.reports.max_message_bytes
    async with bed.door(), smtp(bed.postfix.smtp_port) as client:
        assert (await client.command(f"MAIL FROM:<a@google.test> SIZE={too_large}")).startswith("552 5.3.4")
