"""The process of the doors on a disk that takes no more: nothing is lost, and nothing is refused for good."""

import resource
from pathlib import Path

import pytest
from tests.fakes.ports import free_port
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import ADDRESS, TOKEN, json_body, post, smtp
from tests.ingest.test_killed import Installation


def report(number: int) -> dict[str, object]:
    return report_json(report_id=str(number), organization="x" * 20_000)


@pytest.mark.sqlite
async def test_once_there_is_room_again_the_senders_retry_succeeds(tmp_path: Path) -> None:
    installation = Installation(tmp_path, free_port(), free_port())
    installation.prepare()
    async with installation.doors() as process, smtp(installation.smtp_port) as client:

        def make_room(size: int) -> None:
            # no file grows beyond this; the kernel's answer is an error of the disk, not a mock
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        async def mail(number: int) -> str:
            reply = await client.send(google_mail(report(number), compressed=False), ADDRESS)
            if reply.startswith("250"):
                installation.answered.add(str(number))
            return reply[:3]

        assert await mail(0) == "250"
        wal = tmp_path / "mailward.sqlite3-wal"
        make_room(wal.stat().st_size + 200_000)
        replies = [await mail(number) for number in range(1, 21)]
        taken = replies.count("250")
        assert replies == ["250"] * taken + ["451"] * (20 - taken)
        assert 0 < taken < 20
        assert await post(installation.https_port, f"/v1/tlsrpt/{TOKEN}", json_body(report(99))) == 503
        make_room(resource.RLIM_INFINITY)
        assert [await mail(number) for number in range(1, 21)] == ["250"] * 20
        assert await post(installation.https_port, f"/v1/tlsrpt/{TOKEN}", json_body(report(99))) == 201
    assert installation.stored() == installation.answered | {"99"}
    assert len(installation.answered) == 21
