"""Inside a Debian that systemd has booted: the platform of the package, as docs/install.md sets it up.

`scripts/try-deb` makes that Debian, installs the package, and runs the parts of this there as root, one by one.
One line for each thing that was seen; the first that is not as it should be ends it with a status.
"""

import asyncio
import contextlib
import os
import re
import signal
import smtplib
import sqlite3
import ssl
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from email.message import EmailMessage
from pathlib import Path

import dns.asyncquery
import dns.message
from tests.docs.marked import read_blocks
from tests.fakes.dns import FakeDns
from tests.fakes.socketmap import Client
from tests.packaging.booted import permissions, run, seen, show, write

SERVICE = "mailward.service"
SOCKETS = ("policy-host", "smtp", "nameserver", "console")
MORE_SOCKETS = ("reports-https", "front")
DATA = Path("/var/lib/mailward")
SETTINGS = Path("/etc/mailward/mailward.toml")
DNS_PORT = 5355
PLACES = ("policy-host", "smtp", "nameserver")
OURS = f"""data = "{DATA}"
[policy_host]
listen = ["0.0.0.0", "::"]
public_name = "policies.test"
[reports]
domain = "reports.test"
smtp_listen = ["0.0.0.0", "::"]
[nameserver]
zone = "sts.test"
listen = ["0.0.0.0", "::"]
[dns]
resolvers = ["127.0.0.1:{DNS_PORT}"]
authoritative_override = ["127.0.0.1:{DNS_PORT}"]
allow_private_addresses = true
[sender]
listen = ["unix:/var/spool/postfix/mailward/sender.sock"]
default_level = "may"
"""
WITH_FRONTS = OURS.replace("[policy_host]", '[policy_host]\nfronts = ["127.0.0.1"]')
WITH_A_CA = OURS + '[acme]\ndirectories = ["https://127.0.0.1:1/directory"]\n'
"""No certificate of the development CA is served then: so that is tried by itself."""
BEHIND = OURS.replace(
    'listen = ["0.0.0.0", "::"]\npublic_name', 'listen = "127.0.0.1:8443"\npublic_name'
).replace(
    'smtp_listen = ["0.0.0.0", "::"]', 'smtp_listen = "127.0.0.1:2525"\nhttps_listen = "127.0.0.1:8444"'
)
BEHIND_FOR_A_CA = (
    '[acme]\ndirectories = ["https://127.0.0.1:1/directory"]\nhttp_listen = "127.0.0.1"\nhttp_port = 8080\n'
)
DOCS = Path(__file__).parents[2] / "docs"
CHALLENGE = "/.well-known/acme-challenge/none"
Asked = dict[str, tuple[Callable[[], Awaitable[str]], str]]
"""What is asked: how, and what the answer has."""
REPORT = Path(__file__).parents[1] / "fixtures/reports/plain.json"
PATIENCE = 60
HANGS = 180
"""Seconds; a child hangs after 24 beats of 5 s."""
HURRY = Path("/run/systemd/system/mailward.service.d/hurry.conf")
ASKERS = 4


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[None]:
    names = FakeDns()
    names.port = DNS_PORT
    names.delegate("example.test", "ns.example.test.")
    names.set("example.test", "MX", "10 mx.example.test.")
    names.set("mx.example.test", "A", "127.0.0.2")
    async with names:
        yield


async def policy(port: int = 443) -> str:
    """As a sender fetches it, by TLS."""
    trust = ssl.create_default_context(cafile=str(DATA / "ca" / "ca.pem"))
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trust, server_hostname="mta-sts.example.test"
        )
        writer.write(
            b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.example.test\r\nConnection: close\r\n\r\n"
        )
        text = (await reader.read()).decode()
        writer.close()
    return text


async def zone_serial() -> str:
    """As a resolver asks over TCP, which waits where UDP would ask again."""
    question = dns.message.make_query("sts.test", "SOA")
    answer = await dns.asyncquery.tcp(question, "127.0.0.1", timeout=PATIENCE)
    return answer.answer[0].to_text() if answer.answer else ""


async def look_at_activation() -> None:
    write(str(SETTINGS), OURS)
    found = permissions(SETTINGS)
    seen("an edited settings file keeps its mode", found == ("root", "0o640"), found)
    for name in SOCKETS:
        await run("systemctl", "enable", "--now", f"mailward-{name}.socket")
    await run("systemctl", "enable", SERVICE)
    seen("sockets alone start nothing", await show("ActiveState", SERVICE) == "inactive")
    with contextlib.suppress(OSError, ssl.SSLError):  # no domain and no authority yet
        _, writer = await asyncio.open_connection("127.0.0.1", 443)
        writer.close()
    for _ in range(PATIENCE * 3):
        state = await show("ActiveState", SERVICE), await show("SubState", SERVICE)
        if state == ("active", "running"):
            break
        await asyncio.sleep(1)
    seen("a connection starts it", state == ("active", "running"), state)
    said = await run("mailward", "user", "link")
    link = re.search(r"http://\S+/start/\S+/", said)
    seen("the command prints the first administrator's link", link is not None, said.strip()[:150])
    assert link
    page = await asyncio.to_thread(read_page, link[0])
    seen("the page behind it is there, with its styles", "/static/" in page)


def read_page(address: str) -> str:
    with urllib.request.urlopen(address, timeout=PATIENCE) as page:
        return str(page.read().decode())


async def look_at_service() -> None:
    said = await run("mailward", "domains", "add", "example.test")
    seen("a domain is added by its command", "example.test" in said, said.strip())
    for _ in range(PATIENCE * 2):
        with contextlib.suppress(OSError):
            if "mode: testing" in await policy():
                break
        await asyncio.sleep(0.5)
    text = await policy()
    seen("its policy is served over TLS on 443", "mode: testing" in text and "mx: mx.example.test" in text)
    seen("the nameserver answers on 53", "sts.test." in await zone_serial())
    records = await run("mailward", "domains", "records", "example.test")
    address = re.search(r"mailto:(\S+?@reports\.test)", records)
    if address is None:  # the text stands behind the CNAME
        answer = await dns.asyncquery.udp(
            dns.message.make_query(tlsrpt_name(records), "TXT"), "127.0.0.1", timeout=9
        )
        address = re.search(r"mailto:([^\"\s;]+@reports\.test)", answer.answer[0].to_text())
    assert address, records
    await asyncio.to_thread(send_report, address[1])
    with contextlib.closing(sqlite3.connect(DATA / "mailward.sqlite3")) as database:
        [count] = database.execute("SELECT count(*) FROM store_report").fetchone()
    seen("a report that came to port 25 is in the database", count == 1, count)
    owners = await run("find", str(DATA), "!", "-user", "mailward")
    seen("all that is there is Mailward's, though root gave commands", not owners, owners)


def tlsrpt_name(records: str) -> str:
    found = re.search(r"_smtp\._tls\S*\s+(?:\d+\s+)?IN\s+CNAME\s+(\S+)", records)
    assert found, records
    return found[1]


def send_report(address: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = (
        "tlsrpt@sender.example",
        address,
        "Report Domain: example.test",
    )
    mail.add_attachment(REPORT.read_bytes(), maintype="application", subtype="tlsrpt+json", filename="r.json")
    with smtplib.SMTP("127.0.0.1", 25, timeout=PATIENCE) as door:
        door.send_message(mail)


class Questions:
    """Policies and DNS, again and again; a connection that breaks once is tried anew `patience` times."""

    def __init__(self, patience: int) -> None:
        self.answered = 0
        self.lost: list[str] = []
        self._patience = patience
        self._stopping = False

    async def ask(self, question: Callable[[], Awaitable[str]], wanted: str) -> None:
        while not self._stopping:
            for left in range(self._patience, -1, -1):
                try:
                    answer = await question()
                except (OSError, EOFError, TimeoutError) as error:
                    if not left:
                        self.lost.append(repr(error))
                    continue
                if wanted not in answer:
                    self.lost.append(answer[:200])
                self.answered += 1
                break
            await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def asked(self, questions: Asked | None = None) -> AsyncIterator[None]:
        """These, or policies and DNS."""
        if questions is None:
            tasks = [asyncio.create_task(self.ask(policy, "mode: testing")) for _ in range(ASKERS)]
            tasks += [asyncio.create_task(self.ask(zone_serial, "sts.test."))]
        else:
            tasks = [asyncio.create_task(self.ask(*each)) for each in questions.values()]
        yield
        self._stopping = True
        await asyncio.gather(*tasks)


async def started_anew(before: str) -> None:
    for _ in range(PATIENCE * 5):
        state = await show("MainPID", SERVICE), await show("SubState", SERVICE)
        if state[0] not in (before, "0") and state[1] == "running":
            return
        await asyncio.sleep(0.2)
    sys.exit("NOT started again")


async def look_at_restarts() -> None:
    restart, crash = Questions(patience=0), Questions(patience=2)
    async with restart.asked():
        for _ in range(2):
            pid = await show("MainPID", SERVICE)
            await run("systemctl", "restart", SERVICE)
            await started_anew(pid)
    seen("two restarts lose no question", not restart.lost, restart.lost[:3] or f"{restart.answered} answers")
    async with crash.asked():
        for _ in range(2):
            pid = await show("MainPID", SERVICE)
            os.kill(int(pid), signal.SIGKILL)
            await started_anew(pid)
    seen("it comes back after kill -9", not crash.lost, crash.lost[:3] or f"{crash.answered} answers")


async def upgrade() -> None:
    questions, pid = Questions(patience=0), await show("MainPID", SERVICE)
    async with questions.asked():
        await run("apt-get", "install", "-y", "/root/next.deb")
        await started_anew(pid)
    seen("an upgrade restarts it", await show("MainPID", SERVICE) != pid)
    seen("and loses no question", not questions.lost, questions.lost[:3] or f"{questions.answered} answers")


async def platform() -> None:
    async with world():
        await look_at_activation()
        await look_at_service()
        await look_at_restarts()


async def sender() -> None:
    await run("systemctl", "enable", "--now", "mailward-sender.socket")
    async with (
        await Client.connect_unix("/var/spool/postfix/mailward/sender.sock") as client,
        asyncio.timeout(PATIENCE),
    ):
        answer = await client.ask("[192.0.2.1]")
    seen("the sender answers Postfix's socket", answer.startswith("NOTFOUND"), answer)


def unverified() -> ssl.SSLContext:
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return trust


async def http(port: int, host: str, path: str, tls: ssl.SSLContext | None = None) -> str:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname=host if tls else None
        )
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode())
        text = (await reader.read()).decode()
        writer.close()
    return text


async def greeting(port: int = 25) -> str:
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        text = (await reader.readline()).decode()
        writer.close()
    return text


async def zone_by_udp() -> str:
    question = dns.message.make_query("sts.test", "SOA")
    return (await dns.asyncquery.udp(question, "127.0.0.1", timeout=PATIENCE)).to_text()


async def asked_while_stopped(settings: str, more: tuple[str, ...], asked: Asked) -> None:
    """The sockets stay: whoever asks starts the service, waits, and is answered."""
    await run("systemctl", "stop", SERVICE)
    write(str(SETTINGS), settings)
    await run("systemctl", "enable", "--now", *more)
    seen("until someone asks, nothing runs", await show("ActiveState", SERVICE) == "inactive")
    answers = await asyncio.gather(*(question() for question, _ in asked.values()), return_exceptions=True)
    for (what, (_, wanted)), answer in zip(asked.items(), answers, strict=True):
        seen(f"started by its socket: {what}", wanted in str(answer), repr(answer)[:150])
    await run("systemctl", "disable", "--now", *more)


async def sockets() -> None:
    for name in (*SOCKETS, *MORE_SOCKETS, "acme"):
        started = await show("Triggers", f"mailward-{name}.socket")
        seen(f"mailward-{name}.socket starts the service", started == SERVICE, started)
    host = "mta-sts.example.test"
    asked: Asked = {
        "port 443, a policy": (policy, "mode: testing"),
        "port 25, a greeting": (greeting, "220 "),
        "port 53 by UDP": (zone_by_udp, "sts.test."),
        "port 53 by TCP": (zone_serial, "sts.test."),
        "port 8000, a page": (lambda: http(8000, "127.0.0.1:8000", "/"), "HTTP/1.1 302"),
        "port 8444, for reports": (lambda: http(8444, "reports.test", "/", unverified()), "HTTP/1.1 4"),
        "port 8081, for a front": (lambda: http(8081, host, "/.well-known/mta-sts.txt"), "mode: testing"),
    }
    more = tuple(f"mailward-{name}.socket" for name in MORE_SOCKETS)
    await asked_while_stopped(WITH_FRONTS, more, asked)
    asked = {"port 80, for a CA": (lambda: http(80, host, CHALLENGE), "HTTP/1.1 404")}
    await asked_while_stopped(WITH_A_CA, ("mailward-acme.socket",), asked)
    [step] = [block for block in read_blocks(DOCS / "first-domain.md") if block.step == "acme-socket"]
    await run("sh", "-euc", step.text)
    answers = await http(80, host, CHALLENGE), await greeting()
    is_so = "HTTP/1.1 404" in answers[0] and "220 " in answers[1]
    seen("port 80 comes to a service that ran, and the others are there", is_so, answers)
    await run("systemctl", "disable", "--now", "mailward-acme.socket")
    write(str(SETTINGS), OURS)
    await run("systemctl", "restart", SERVICE)


async def restarted_behind(settings: str, asked: Asked, what: str) -> None:
    write(str(SETTINGS), settings)
    await run("systemctl", "restart", SERVICE)
    questions = Questions(patience=0)
    async with questions.asked(asked):
        for _ in range(3):
            pid = await show("MainPID", SERVICE)
            await run("systemctl", "restart", SERVICE)
            await started_anew(pid)
    seen(what, not questions.lost, questions.lost[:3] or f"{questions.answered} answers")


async def behind() -> None:
    """At the addresses of the recipes, by the drop-ins of docs/ports.md."""
    write(str(SETTINGS), BEHIND)
    steps = [block for block in read_blocks(DOCS / "ports.md") if block.step == "behind-a-front"]
    drop_ins = [Path(block.file) for block in steps if block.file]
    for block in steps:
        if block.file:
            Path(block.file).parent.mkdir(exist_ok=True)
            write(block.file, block.text)
        else:
            await run("sh", "-euc", block.text)
    asked: Asked = {
        "policy": (lambda: policy(8443), "mode: testing"),
        "mail": (lambda: greeting(2525), "220 "),
        "reports": (lambda: http(8444, "reports.test", "/", unverified()), "HTTP/1.1 4"),
        "page": (lambda: http(8000, "127.0.0.1:8000", "/"), "HTTP/1.1 302"),
    }
    await restarted_behind(BEHIND, asked, "behind a front, restarts refuse no connection")
    await run("systemctl", "stop", SERVICE)
    await run("systemctl", "start", "mailward-acme.socket")
    question: Asked = {"port 8080": (lambda: http(8080, "mta-sts.example.test", CHALLENGE), "HTTP/1.1 404")}
    await restarted_behind(BEHIND + BEHIND_FOR_A_CA, question, "and none of a CA")
    theirs = [f"mailward-{name}.socket" for name in ("policy-host", "smtp")]
    more = [f"mailward-{name}.socket" for name in ("reports-https", "acme")]
    await run("systemctl", "stop", *theirs, *more, SERVICE)
    await run("systemctl", "disable", *more)
    for drop_in in drop_ins:
        drop_in.unlink()
        drop_in.parent.rmdir()
    write(str(SETTINGS), OURS)
    await run("systemctl", "daemon-reload")
    await run("systemctl", "start", *theirs, SERVICE)


async def watchdog() -> None:
    """A process that hangs: the supervisor ends a child, systemd the supervisor."""
    main = await show("MainPID", SERVICE)
    child = (await run("pgrep", "--parent", main, "--full", "_policy-host")).strip()
    os.kill(int(child), signal.SIGSTOP)
    for _ in range(HANGS * 5):
        after = (await run("pgrep", "--parent", main, "--full", "_policy-host", status=None)).strip()
        if after not in ("", child):
            break
        await asyncio.sleep(0.2)
    seen("a policy host that hangs is started again", after not in ("", child), f"{child} {after}")
    seen("and serves", "mode: testing" in await policy())
    seen("by the supervisor, which stayed", await show("MainPID", SERVICE) == main)
    HURRY.parent.mkdir(parents=True)
    write(str(HURRY), "[Service]\nWatchdogSec=15\n")
    await run("systemctl", "daemon-reload")
    await run("systemctl", "restart", SERVICE)
    main = await show("MainPID", SERVICE)
    os.kill(int(main), signal.SIGSTOP)
    await started_anew(main)
    seen("a main process that hangs is started anew by systemd", "mode: testing" in await policy())
    await run("rm", str(HURRY))
    await run("systemctl", "daemon-reload")
    await run("systemctl", "restart", SERVICE)


async def postgresql() -> None:
    os.chdir("/")  # where other users may be
    await run("systemctl", "start", "postgresql")
    await run("runuser", "-u", "postgres", "--", "createuser", "mailward")
    await run("runuser", "-u", "postgres", "--", "createdb", "--owner=mailward", "mailward")
    write(str(SETTINGS), OURS + '[database]\nname = "mailward"\nhost = "/run/postgresql"\n')
    await run("systemctl", "restart", SERVICE, status=None)
    said = await run("journalctl", "-u", SERVICE, "-n", "50", "-o", "cat")
    seen("an empty database is not started on", "mailward database copy" in said, said.strip()[-300:])
    sockets = tuple(f"mailward-{name}.socket" for name in SOCKETS)
    await run("systemctl", "stop", SERVICE, *sockets)
    said = await run("mailward", "database", "copy")
    seen("the copy takes all over", "rows copied" in said, said.strip()[-150:])
    await run("systemctl", "start", *sockets, SERVICE)
    count = (
        "runuser",
        "-u",
        "mailward",
        "--",
        "psql",
        "-Atc",
        "SELECT count(*) FROM django_migrations",
        "mailward",
    )
    rows = int(await run(*count))
    seen("one setting, and the tables are in PostgreSQL", rows > 20, rows)
    said = await run("mailward", "user", "link")
    seen("commands of root find it there", "/start/" in said)
    await run("mailward", "backup", "/root/postgresql.tar.gz")
    owners = await run("find", str(DATA), "!", "-user", "mailward")
    seen("and leave nothing of root's", not owners, owners)
    write(str(SETTINGS), OURS)
    await run("systemctl", "restart", SERVICE)
    await run("systemctl", "stop", "postgresql")


def parts() -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
    for part in (platform, upgrade, sockets, behind, watchdog, sender, postgresql):
        yield part.__name__, part


if __name__ == "__main__":
    asyncio.run(dict(parts())[sys.argv[1]]())  # type: ignore[arg-type] # they are coroutines
