"""`mailward sender explain`, `list`, `purge`; `run` is in tests/sender/test_killed.py."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.sender.lab import DOMAIN, POLICY, Lab, running_lab
from tests.sender.process import make_process
from tests.sender.test_answers import ask


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path) as lab:
        lab.publish()
        yield lab


async def learn(lab: Lab) -> None:
    daemon = lab.daemon()
    await ask(daemon)
    await daemon.knowledge.close()


async def command(lab: Lab, *words: str) -> tuple[int, str]:
    config = make_process(lab).config
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailward", "sender", *words, "--config", str(config)),
        env={name: value for name, value in os.environ.items() if not name.startswith("MAILWARD")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return await process.wait(), output.decode()


async def test_explain_shows_every_step_and_the_line_of_each_dialect(lab: Lab) -> None:
    status, output = await command(lab, "explain", DOMAIN)
    assert status == 0
    assert f"TXT _mta-sts.{DOMAIN}: v=STSv1; id=1;" in output
    assert (
        f"ms  GET https://mta-sts.{DOMAIN}/.well-known/mta-sts.txt: {len(POLICY)} bytes from 127.0.0.1"
        in output
    )
    assert "Decision: sts-enforce: an enforcing MTA-STS policy" in output
    plain = "OK secure match=mx.example.test servername=hostname"
    assert f"postfix-3.4 and later: {plain}\n" in output
    assert f"postfix-3.10 and later: {plain} policy_type=sts policy_domain={DOMAIN} " in output


async def test_explain_uses_the_cache_where_https_is_down(lab: Lab) -> None:
    await learn(lab)
    lab.publish("2", b"")
    _, output = await command(lab, "explain", DOMAIN)
    assert "Cache: id 1, mode enforce, fetched " in output
    assert "Fetch: failed, so the cached policy stays: " in output
    assert "Decision: sts-enforce: " in output


async def test_explain_refuses_what_has_no_policy(lab: Lab) -> None:
    assert await command(lab, "explain", "[192.0.2.1]") == (
        2,
        "mailward: '[192.0.2.1]' can have no policy of its own: address\n",
    )


async def test_list_and_purge(lab: Lab) -> None:
    await learn(lab)
    status, output = await command(lab, "list")
    assert status == 0
    assert output.split("\t")[::4] == [DOMAIN, "mx.example.test\n"]
    assert await command(lab, "purge", DOMAIN) == (0, f"Forgotten: {DOMAIN}\n")
    status, output = await command(lab, "purge", DOMAIN)
    assert (status, output.startswith(f"mailward: No policy of {DOMAIN} is in ")) == (2, True)
    assert await command(lab, "list") == (0, "")


async def test_list_without_a_cache_says_so(lab: Lab) -> None:
    status, output = await command(lab, "list")
    assert status == 2
    assert output.startswith("mailward: There is no cache at ")


async def test_run_names_a_place_where_it_cannot_listen(lab: Lab) -> None:
    config = make_process(lab, listen='["192.0.2.1:1"]').config
    result = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "mailward", "sender", "run", "--config", str(config)],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert result.returncode == 2
    assert b"mailward: 192.0.2.1:1: " in result.stderr


def test_the_sending_side_starts_without_django() -> None:
    code = (
        "import sys, mailward.cli.sender, mailward.sender.daemon\n"
        "assert not {'django', 'aiosmtpd', 'uvicorn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
