"""The same reports through both doors and the import at once, in several processes: each is one report."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.fakes.ports import free_port
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import ADDRESS, TOKEN, SmtpClient, json_body, post, smtp
from tests.ingest.test_killed import Installation

REPORTS = [report_json(report_id=f"report {number}", successful=10, failed=1) for number in range(120)]
COPIES = 4  # two by mail, one by HTTPS, one imported


async def persist(send: Callable[[], Awaitable[bool]]) -> None:
    """As senders do: what was not taken comes again."""
    for _ in range(100):
        if await send():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("never taken")


async def mail_one(client: SmtpClient, report: dict[str, Any]) -> bool:
    return (await client.send(google_mail(report), ADDRESS)).startswith("250")


async def post_one(port: int, report: dict[str, Any]) -> bool:
    return await post(port, f"/v1/tlsrpt/{TOKEN}", json_body(report)) in (200, 201)


async def mail_all(installation: Installation) -> None:
    async with smtp(installation.smtp_port) as client:
        for report in REPORTS:
            await persist(partial(mail_one, client, report))


async def post_all(installation: Installation) -> None:
    for report in reversed(REPORTS):
        await persist(partial(post_one, installation.https_port, report))


async def import_all(installation: Installation, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailward", "report", "import", "--domain", "example.test", str(folder)),
        env=os.environ | installation.environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0


async def test_each_report_is_stored_and_counted_once(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "data", free_port(), free_port())
    installation.prepare()
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, report in enumerate(REPORTS):
        (inbox / f"{number}.json").write_bytes(json_body(report))
    async with installation.doors():
        await asyncio.gather(
            mail_all(installation),
            mail_all(installation),
            post_all(installation),
            import_all(installation, inbox),
        )
    [reports] = installation.database.rows(
        "SELECT count(*), count(DISTINCT report_id), sum(copies), count(*) FILTER (WHERE counted),"
        " min(trust), max(trust) FROM store_report"
    )
    [sessions] = installation.database.rows(
        "SELECT sum(ok), sum(failed), sum(reports) FROM store_dailysessions"
    )
    [failures] = installation.database.rows("SELECT sum(sessions) FROM store_dailyfailures")
    number = len(REPORTS)
    assert reports == (number, number, COPIES * number, number, "vouched-person", "vouched-person")
    assert sessions == (10 * number, number, number)
    assert failures == (number,)
