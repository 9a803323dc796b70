"""Inside a Debian that systemd has booted: Mailward as docs/sender.md sets it up, beside Debian's own Postfix.

`scripts/try-systemd` makes that Debian and runs this there as root. One line for each thing that was seen; the first
that is not as it should be ends it with a status. DNS, policy host and receivers are real servers of this process.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import stat
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

from aiosmtpd.smtp import SMTP
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.policyhost import PolicyHost, http
from tests.fakes.socketmap import Client

SERVICE, SOCKET = "mailward-sender.service", "mailward-sender.socket"
SIGNAL_SOCKET, SIGNAL_PLACE = "mailward-tlsrpt.socket", "/var/spool/postfix/mailward/tlsrpt.sock"
BURST = 500
QUEUE_LENGTH = "/proc/sys/net/unix/max_dgram_qlen"
SIGNAL = (Path(__file__).parents[1] / "fixtures/datagrams/sts-success-sts.json").read_bytes()
PLACE = "/var/spool/postfix/mailward/sender.sock"
PORT = 8461
SETTINGS, OVERRIDES, MAIL_LOG = (
    "/etc/mailward/mailward.toml",
    "/etc/mailward/overrides.toml",
    "/var/log/mail.log",
)
CACHE = Path("/var/lib/mailward/sender.sqlite3")
POLICY = b"version: STSv1\nmode: enforce\nmx: *.example.test\nmax_age: 604800\n"
SECURE = "OK secure match=.example.test servername=hostname"
CRASHES, RESTARTS = 8, 3
ASKERS = 8
WAIT_SECONDS = 60
MESSAGES = 10  # for each crash or restart


def seen(what: str, is_so: bool, detail: object = "") -> None:
    if not is_so:
        sys.exit(f"NOT {what}: {detail}")
    sys.stdout.write(f"ok  {what}{f': {detail}' if len(str(detail)) in range(1, 200) else ''}\n")
    sys.stdout.flush()


def read(path: str) -> str:
    return Path(path).read_text()


def write(path: str, text: str) -> None:
    Path(path).write_text(text)


def permissions(path: Path) -> tuple[str, str]:
    return path.owner(), oct(stat.S_IMODE(path.stat().st_mode))


async def run(*command: str, text: str = "", status: int | None = 0) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(text.encode())
    if status is not None and process.returncode != status:
        sys.stderr.write(
            await run("journalctl", "--no-pager", "--unit", "mailward*", "--lines", "80", status=None)
        )
        sys.exit(f"NOT {' '.join(command)}: {output.decode()}")
    return output.decode()


async def show(name: str, unit: str = SERVICE) -> str:
    return (await run("systemctl", "show", "--value", "--property", name, unit)).strip()


async def journal(*options: str) -> str:
    return await run("journalctl", "--no-pager", "--unit", SERVICE, *options)


async def until(what: str, text: str, *command: str) -> str:
    """The output of the command, once it has the text."""
    for _ in range(WAIT_SECONDS * 5):
        output = await run(*command, status=None)
        if text in output:
            return output
        await asyncio.sleep(0.2)
    sys.exit(f"NOT {what}: {text!r} is not in {output}\n{await journal()}")


class Mailbox:
    def __init__(self) -> None:
        self.count = 0

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:  # noqa: N802 - aiosmtpd's
        self.count += 1
        return "250 kept"


@contextlib.asynccontextmanager
async def running_world(mailbox: Mailbox) -> AsyncIterator[None]:
    """DNS on port 53; two domains with policies: one whose host has TLS, one whose host has not."""
    authority = Authority(Path("/etc"), "lab")
    host = PolicyHost(authority.issue("mta-sts.example.test", "mta-sts.plain.test"), http(POLICY))
    dns = FakeDns()
    dns.port = 53
    for domain, mx, address in (("example", "mx", "127.0.0.2"), ("plain", "plain", "127.0.0.3")):
        dns.delegate(f"{domain}.test", f"ns.{domain}.test.")
        dns.set(f"{domain}.test", "MX", f"10 {mx}.example.test.")
        dns.set(f"{mx}.example.test", "A", address)
        dns.set(f"_mta-sts.{domain}.test", "TXT", "v=STSv1; id=1;")
        dns.set(f"mta-sts.{domain}.test", "A", "127.0.0.1")
    tls = authority.issue("mx.example.test")
    loop = asyncio.get_running_loop()
    async with dns, host.running():
        good = await loop.create_server(
            lambda: SMTP(mailbox, hostname="mx", tls_context=tls), "127.0.0.2", 25
        )
        plain = await loop.create_server(lambda: SMTP(mailbox, hostname="plain"), "127.0.0.3", 25)
        write_settings(host.port, authority.file)
        async with good, plain:
            yield


def write_settings(policy_port: int, authority: Path) -> None:
    Path(SETTINGS).parent.mkdir(exist_ok=True)
    write(OVERRIDES, "")
    write(
        SETTINGS,
        f'data = "/var/lib/mailward"\n[dns]\nresolvers = ["127.0.0.1"]\nallow_private_addresses = true\n'
        f'[sender]\nlisten = ["unix:{PLACE}"]\ndefault_level = "may"\noverrides = "{OVERRIDES}"\n'
        f'policy_port = {policy_port}\nca_file = "{authority}"\nnotice_minutes = 1\n'
        f'notice_mail = ["ops@example.test"]\n[tlsrpt]\nsocket = "{SIGNAL_PLACE}"\n',
    )
    also_tcp = Path("/etc/systemd/system") / f"{SOCKET}.d" / "tcp.conf"
    also_tcp.parent.mkdir()
    also_tcp.write_text(f"[Socket]\nListenStream=127.0.0.1:{PORT}\n")


async def set_postfix_up() -> None:
    main = {
        "myhostname": "sender.test",
        "mydestination": "",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "maillog_file": MAIL_LOG,
        "smtp_tls_security_level": "may",
        "smtp_tls_loglevel": "1",
        "smtp_tls_CAfile": "/etc/lab.pem",
        "smtp_tls_policy_maps": "socketmap:unix:mailward/sender.sock:QUERY",
    }
    await run("postconf", "-e", *(f"{key}={value}" for key, value in main.items()))
    await run("postconf", "-M", "postlog/unix-dgram=postlog unix-dgram n - n - 1 postlogd")


async def look_at_the_first_question() -> None:
    """Only the socket is there: the question starts the service, and waits for it."""
    await run("systemd-sysusers")
    await run("systemctl", "daemon-reload")
    await run("systemctl", "enable", SOCKET, SIGNAL_SOCKET, SERVICE)
    write(QUEUE_LENGTH, "10")  # as the kernel has it; systemd as process 1 makes it 512
    await run("systemctl", "start", SOCKET, SIGNAL_SOCKET)
    seen("the service is not started before a question", await show("ActiveState") == "inactive")
    async with await Client.connect_unix(PLACE) as client, asyncio.timeout(WAIT_SECONDS):
        seen(
            "a question starts it and is answered",
            (answer := await client.ask("example.test")) == SECURE,
            answer,
        )
    ready = await show("Type"), await show("ActiveState"), await show("SubState")
    seen("it has told that it is ready", ready == ("notify", "active", "running"), ready)
    async with await Client.connect(PORT) as client:
        seen("it answers over TCP too", await client.ask("example.test") == SECURE)
    found = [permissions(CACHE.parent), permissions(CACHE)]
    seen("its cache is its own alone", found == [("mailward", "0o700"), ("mailward", "0o600")], found)


async def look_at_postfix(mailbox: Mailbox) -> None:
    await run("systemctl", "start", "postfix")
    said = await run("postmap", "-q", "example.test", f"socketmap:unix:{PLACE}:QUERY")
    seen("postmap gets an answer", said.strip() == SECURE.removeprefix("OK "), said.strip())
    await run("sendmail", "-f", "a@sender.test", "b@example.test", text="Subject: x\n\nx\n")
    log = await until("mail is sent", "status=sent", "cat", MAIL_LOG)
    seen("a chrooted smtp(8) delivers over verified TLS", "Verified TLS connection established to mx" in log)
    await run("sendmail", "-f", "a@sender.test", "b@plain.test", text="Subject: x\n\nx\n")
    log = await until("mail waits", "status=deferred", "cat", MAIL_LOG)
    seen("and mail to a host without TLS waits", "TLS is required, but was not offered by host plain" in log)
    seen("one message was taken", mailbox.count == 1, mailbox.count)
    doctor = await run("/opt/mailward/bin/mailward", "sender", "doctor", "--config", SETTINGS, status=None)
    found = "ok      Postfix 3." in doctor and "does not lead to us" not in doctor
    seen("doctor finds Postfix and its way to us", found, doctor)


def metrics() -> str:
    with urllib.request.urlopen("http://127.0.0.1:8462/metrics", timeout=10) as page:
        return str(page.read().decode())


async def look_at_signals() -> None:
    """The socket has a longer queue than the kernel gives, which stays as it is; a burst waits in it."""
    length = read(QUEUE_LENGTH).strip()
    seen("the kernel lets 10 datagrams wait", length == "10", length)
    seen("and 512 or more in our socket", "\nmailward_sender_signal_queue_length 512\n" in metrics())
    [receiver] = (await run("pgrep", "--exact", "mw-receiver")).split()
    sent = 0
    with contextlib.ExitStack() as stack:
        os.kill(int(receiver), signal.SIGSTOP)
        while sent < BURST:
            if sent % 50 == 0:
                sender = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                sender.setblocking(False)
                sender.connect(SIGNAL_PLACE)
            sender.send(SIGNAL)
            sent += 1
        os.kill(int(receiver), signal.SIGCONT)
    for _ in range(WAIT_SECONDS * 5):
        if f"\nmailward_sender_signal_sessions_total {BURST}\n" in metrics():
            break
        await asyncio.sleep(0.2)
    counted = re.findall(r"^mailward_sender_signal_\w+ [1-9]\d*$", metrics(), re.MULTILINE)
    seen("a burst is counted", f"mailward_sender_signal_sessions_total {BURST}" in counted, " ".join(counted))
    said = await run("/opt/mailward/bin/mailward", "sender", "doctor", "--config", SETTINGS, status=None)
    seen("doctor knows the socket's own queue", "the socket's queue takes 512 datagrams" in said, said)


async def look_at_notices(mailbox: Mailbox) -> None:
    """The hardened service may read the queue and hand a mail over: no set-group-id works in there."""
    await until("waiting mail is told", " mail-deferred ", "journalctl", "--no-pager", "--unit", SERVICE)
    entries = [json.loads(line) for line in (await journal("--output", "json")).splitlines()]
    told = [entry for entry in entries if "mail-deferred" in str(entry["MESSAGE"])]
    seen("the queue is read and waiting mail told", "domain=plain.test" in str(told[0]["MESSAGE"]))
    await until("the notice comes", "to=<ops@example.test>", "grep", "status=sent", MAIL_LOG)
    seen("the notice comes by mail", mailbox.count == 2, mailbox.count)
    seen("warnings are warnings in the journal", told[0]["PRIORITY"] in "34", told[0]["PRIORITY"])
    started = [str(entry["MESSAGE"]) for entry in entries if " started " in str(entry["MESSAGE"])]
    seen("the journal is readable", bool(started), started[:1])


class Askers:
    """As Postfix: a connection kept; one that breaks is opened again, once for each question."""

    def __init__(self) -> None:
        self.answered = self.again = 0
        self.lost: list[str] = []
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        client = await Client.connect_unix(PLACE)
        while not self._stopping.is_set():
            for attempt in (1, 2):
                try:
                    async with asyncio.timeout(WAIT_SECONDS):
                        answer = await client.ask("example.test")
                except (OSError, EOFError, TimeoutError) as error:
                    self.again += 1
                    if attempt == 2:
                        self.lost.append(repr(error))
                    with contextlib.suppress(OSError):
                        client = await Client.connect_unix(PLACE)
                    continue
                self.answered += 1
                if answer != SECURE:
                    self.lost.append(answer)
                break
            await asyncio.sleep(0.002)
        await client.close()

    def stop(self) -> None:
        self._stopping.set()


async def main_pid_changes(before: str) -> str:
    for _ in range(WAIT_SECONDS * 10):
        if (now := await show("MainPID")) not in (before, "0") and await show("SubState") == "running":
            return now
        await asyncio.sleep(0.1)
    sys.exit(f"NOT started again\n{await journal()}")


async def look_at_restarts(mailbox: Mailbox) -> None:
    askers, before = Askers(), mailbox.count
    tasks = [asyncio.create_task(askers.run()) for _ in range(ASKERS)]
    for number in range(CRASHES + RESTARTS):
        pid = await show("MainPID")
        for _ in range(MESSAGES):
            await run("sendmail", "-f", "a@sender.test", "b@example.test", text="Subject: x\n\nx\n")
        if number < CRASHES:
            os.kill(int(pid), signal.SIGKILL)
        else:
            await run("systemctl", "restart", SERVICE)
        await main_pid_changes(pid)
    askers.stop()
    await asyncio.gather(*tasks)
    sent = MESSAGES * (CRASHES + RESTARTS)
    detail = f"{askers.answered} answers, {askers.again} asked again; {await show('NRestarts')} restarts by systemd"
    seen(
        f"{CRASHES} crashes in a row and {RESTARTS} restarts lose no question",
        not askers.lost,
        askers.lost or detail,
    )
    for _ in range(WAIT_SECONDS * 5):
        if mailbox.count >= before + sent:
            break
        await asyncio.sleep(0.2)
    log = read(MAIL_LOG)
    deferred = set(re.findall(r"to=<(\S+)>.*status=deferred", log))
    seen("nor a message of Postfix", (mailbox.count - before, deferred) == (sent, {"b@plain.test"}), sent)


async def until_restarts(count: int) -> None:
    for _ in range(WAIT_SECONDS * 5):
        if int(await show("NRestarts")) >= count:
            return
        await asyncio.sleep(0.2)
    sys.exit(f"NOT started {count} times\n{await journal()}")


async def look_at_mistakes() -> None:
    """Settings that are wrong, for longer than systemd's start limit: mended, all goes on without another command."""
    good = read(SETTINGS)
    write(SETTINGS, good + "nonsense = 1\n")
    pid = await show("MainPID")
    await run("systemctl", "restart", SERVICE, status=None)
    client = await Client.connect_unix(PLACE)
    asked = asyncio.create_task(client.ask("example.test"))
    await until_restarts(8)
    write(SETTINGS, good)
    async with asyncio.timeout(WAIT_SECONDS):
        seen("a question outlasts wrong settings", await asked == SECURE)
    await client.close()
    await main_pid_changes(pid)


async def look_at_the_rest() -> None:
    write(
        OVERRIDES,
        "[[override]]\ndomain = 'example.test'\naction = 'ignore'\nreason = 'proof'\nuntil = 2099-01-01\n",
    )
    await run("systemctl", "reload", SERVICE)
    await until("reload reads the overrides", "count=1", "journalctl", "-u", SERVICE)
    async with await Client.connect_unix(PLACE) as client:
        seen("reload reads the overrides", await client.ask("example.test") == "NOTFOUND ")
    said = await run("systemd-analyze", "security", "--no-pager", SERVICE)
    score = re.search(r"Overall exposure level for \S+ ([0-9.]+)", said)
    told = re.search(r"exposure of \*\*([0-9.]+)\*\*", read("docs/sender.md"))
    exposure = score[1] if score else said
    seen(
        "it is as closed as docs/sender.md says",
        told is not None and float(exposure) <= float(told[1]),
        exposure,
    )
    await run("systemctl", "stop", SOCKET, SIGNAL_SOCKET, SERVICE)
    result = await show("Result"), await show("ExecMainStatus")
    seen("it stops when told", result == ("success", "0"), result)


async def main() -> None:
    mailbox = Mailbox()
    await set_postfix_up()
    async with running_world(mailbox):
        await look_at_the_first_question()
        await look_at_postfix(mailbox)
        await look_at_signals()
        await look_at_notices(mailbox)
        await look_at_restarts(mailbox)
        await look_at_mistakes()
        await look_at_the_rest()


if __name__ == "__main__":
    asyncio.run(main())
