"""kill -9 at any moment: no report that was answered with 250 or 2xx is lost."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.db import connection
from tests.databases import Outside
from tests.fakes.ports import free_port
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import ADDRESS, TOKEN, json_body, post, smtp

_CLIENTS = 4  # of each door


@dataclass
class Installation:
    """A data folder with one domain, and the real process of the doors on it."""

    folder: Path
    smtp_port: int
    https_port: int
    answered: set[str] = field(default_factory=set)
    replies: set[str] = field(default_factory=set)
    statuses: set[int] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))
    lock_seconds: int = 1
    """How long PostgreSQL lets a commit wait for a lock."""

    def __post_init__(self) -> None:
        self.database = Outside(self.folder)

    @property
    def environment(self) -> dict[str, str]:
        return (
            os.environ
            | self.database.environment
            | {
                "DJANGO_SETTINGS_MODULE": "mailward.web.settings",  # the product, not its tests
                "MAILWARD_DATA": str(self.folder),
                "MAILWARD_REPORTS_SMTP_PORT": str(self.smtp_port),
                "MAILWARD_REPORTS_HTTPS_PORT": str(self.https_port),
                "MAILWARD_DATABASE_LOCK_SECONDS": str(self.lock_seconds),
            }
        )

    @property
    def kinds(self) -> set[str]:
        return {report_id.split()[0] for report_id in self.answered}

    def prepare(self) -> None:
        command = [sys.executable, "-m", "mailward", "_prepare"]
        subprocess.run(command, env=self.environment, check=True, capture_output=True)
        [(organisation,)] = self.database.rows(
            "INSERT INTO store_organisation (name, report_token, created_at)"
            " VALUES ('Example', 'org-example', '2026-11-24') RETURNING id"
        )
        self.database.rows(
            "INSERT INTO store_domain"
            " (organisation_id, name, report_token, claim_token, delegation_token, test_report_nonce, created_at)"
            f" VALUES ({organisation}, 'example.test', '{TOKEN}', 'claim', 'label', '', '2026-11-24')"
        )

    def stored(self) -> set[str]:
        self.database.check()
        return {row[0] for row in self.database.rows("SELECT report_id FROM store_report")}

    @asynccontextmanager
    async def doors(self) -> AsyncIterator[asyncio.subprocess.Process]:
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "mailward", "_doors", env=self.environment, stderr=log
            )
        try:
            await _listening(self.smtp_port)
            await _listening(self.https_port)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def mail_on_and_on(self) -> None:
        async with smtp(self.smtp_port) as client:
            while True:
                report_id = f"mail {next(self.numbers)}"
                raw = google_mail(report_json(report_id=report_id))
                reply = await client.send(raw, ADDRESS)
                self.replies.add(reply)
                if reply.startswith("250"):
                    self.answered.add(report_id)

    async def post_on_and_on(self) -> None:
        while True:
            report_id = f"post {next(self.numbers)}"
            body = json_body(report_json(report_id=report_id))
            status = await post(self.https_port, f"/v1/tlsrpt/{TOKEN}", body)
            self.statuses.add(status)
            if status == 201:
                self.answered.add(report_id)

    async def run_until_killed(self, seconds: float, *, locked: bool) -> None:
        """With `locked`, the last commits before the kill cannot succeed: whoever is answered then is lied to."""
        async with self.doors() as process, contextlib.AsyncExitStack() as stack:
            senders = [
                asyncio.ensure_future(send())
                for send in (self.mail_on_and_on, self.post_on_and_on)
                for _ in range(_CLIENTS)
            ]
            await asyncio.sleep(seconds)  # the moment of the kill is what is tested
            if locked:
                stack.enter_context(self.database.held())
                await asyncio.sleep(0.3)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            # answers that are on their way count as well
            _, late = await asyncio.wait(senders, timeout=5)
            assert not late


async def _listening(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return


async def _kill_loop(folder: Path, kills: int) -> None:
    installation = Installation(folder, free_port(), free_port())
    installation.prepare()
    dice = random.Random(8460)
    rounds = 0
    # a busy machine may answer nothing so soon: longer rounds, until each door has answered (or the test's deadline)
    while rounds < kills or installation.kinds != {"mail", "post"}:
        await installation.run_until_killed(
            dice.uniform(0.2, 1.2) * (1 + rounds // kills), locked=bool(rounds % 2)
        )
        rounds += 1
        missing = installation.answered - installation.stored()
        assert not missing


@pytest.mark.sqlite
@pytest.mark.django_db
def test_a_commit_waits_for_the_disk() -> None:
    """No kill shows it, only a power cut would: WAL alone, with synchronous=NORMAL, loses the last commits."""
    with connection.cursor() as cursor:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2)):
            cursor.execute(f"PRAGMA {pragma}")
            assert cursor.fetchone() == (value,)


async def test_what_was_answered_survives_the_kill(tmp_path: Path) -> None:
    await _kill_loop(tmp_path, kills=4)


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_what_was_answered_survives_many_kills(tmp_path: Path) -> None:
    await _kill_loop(tmp_path, kills=60)


async def test_sigterm_under_load_loses_nothing_and_refuses_nothing_for_good(tmp_path: Path) -> None:
    installation = Installation(tmp_path, free_port(), free_port())
    installation.prepare()
    async with installation.doors() as process:
        senders = [
            asyncio.ensure_future(send())
            for send in (installation.mail_on_and_on, installation.post_on_and_on)
            for _ in range(_CLIENTS)
        ]
        await asyncio.sleep(1)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(9):  # serve would kill it after ten seconds
            assert await process.wait() == 0
        await asyncio.wait(senders, timeout=5)
        for sender in senders:
            assert sender.cancel() is False, "every connection has ended"
    assert installation.answered
    assert installation.stored() == installation.answered, "what was stored was answered as well"
    assert not {reply for reply in installation.replies if not reply.startswith(("250", "421"))}
    # 0, no answer: a connection that nobody had taken yet; the sender tries again
    assert installation.statuses <= {0, 201, 503}


async def test_a_mail_that_is_being_stored_when_we_are_told_to_stop_is_answered(tmp_path: Path) -> None:
    # an idle connection is let finish for a second or two; the commit waits for longer
    installation = Installation(tmp_path, free_port(), free_port(), lock_seconds=30)
    installation.prepare()
    async with (
        installation.doors() as process,
        smtp(installation.smtp_port) as busy,
        smtp(installation.smtp_port) as idle,
    ):
        with installation.database.held():
            sending = asyncio.ensure_future(busy.send(google_mail(report_json()), ADDRESS))
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert (await idle.reply()).startswith("421 4.3.2")
            assert not sending.done()
        assert (await sending).startswith("250")
        assert await process.wait() == 0
    assert len(installation.stored()) == 1
