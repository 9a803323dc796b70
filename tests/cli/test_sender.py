"""`mailward sender explain`, `list`, `purge`; `run` is in tests/sender/test_killed.py."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.socketmap import Client
from tests.sender.lab import DOMAIN, POLICY, Lab, running_lab
from tests.sender.process import make_process
from tests.sender.test_answers import ask

from mailward.sender.shadow import ShadowAnswers, read_journal


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path) as lab:
        lab.publish()
        yield lab


async def learn(lab: Lab) -> None:
    daemon = lab.daemon()
    await ask(daemon)
    await daemon.knowledge.close()


async def command(lab: Lab, *words: str, **changes: str) -> tuple[int, str]:
    config = make_process(lab, **changes).config
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


WITHOUT_POLICY = [
    ("[192.0.2.1]", "'[192.0.2.1]' is an address, and policies are for domains."),
    (".example.test", "'.example.test' is a parent, and a policy holds for no other domain."),
    ("me@example.test", "'me@example.test' is no domain name: did you mean example.test? Postfix"),
    ("a..b", "the name has an empty label."),
    ("[a", "'[a' is no label"),
]


@pytest.mark.parametrize(("key", "why"), WITHOUT_POLICY)
async def test_explain_says_why_something_has_no_policy(lab: Lab, key: str, why: str) -> None:
    status, output = await command(lab, "explain", key)
    assert status == 2
    assert output.startswith(f"mailward: {why}"), output
    assert output.endswith(" Postfix is told NOTFOUND (not-a-domain).\n")


async def test_explain_names_the_overrides_file_that_is_broken(lab: Lab) -> None:
    file = lab.folder / "overrides.toml"
    file.write_text("[[override]]\n")
    status, output = await command(lab, "explain", DOMAIN, overrides=f'"{file}"')
    assert (status, output.startswith(f"mailward: {file}: entry 1: ")) == (2, True), output


async def test_list_takes_a_domain_as_people_write_it(lab: Lab) -> None:
    await learn(lab)
    assert (await command(lab, "list", f"{DOMAIN.upper()}."))[1].startswith(f"{DOMAIN}\t")
    assert (await command(lab, "list", "bücher.test")) == (0, "")
    assert (await command(lab, "list", "a..b"))[0] == 2


CANNOT_START = [
    ({"ca_file": '"/nowhere"'}, "/nowhere holds no usable certificates: No such file or directory"),
    ({"ca_file": '"/etc/hostname"'}, "/etc/hostname holds no usable certificates: "),
    ({"listen": "[]"}, "listen is empty: "),
    ({"listen": '["unix:/nowhere/s"]'}, "unix:/nowhere/s: its folder does not exist: mkdir /nowhere"),
]


@pytest.mark.parametrize(("changes", "why"), CANNOT_START)
async def test_what_must_be_mended_first_is_said_in_a_sentence(
    lab: Lab, changes: dict[str, str], why: str
) -> None:
    status, output = await command(lab, "run", **changes)
    assert status == 2
    assert output.splitlines()[-1].startswith(f"mailward: {why}"), output


async def test_list_and_purge(lab: Lab) -> None:
    await learn(lab)
    status, output = await command(lab, "list")
    assert status == 0
    assert output.split("\t")[::4] == [DOMAIN, "mx.example.test\n"]
    assert await command(lab, "purge", DOMAIN) == (0, f"Forgotten: {DOMAIN}\n")
    status, output = await command(lab, "purge", DOMAIN)
    assert (status, output.startswith(f"mailward: No policy of {DOMAIN} is in ")) == (2, True)
    assert await command(lab, "list") == (0, "")


async def test_list_filters_and_writes_json(lab: Lab) -> None:
    await learn(lab)
    assert await command(lab, "list", "--mode", "testing") == (0, "")
    status, output = await command(lab, "list", "test", "--mode", "enforce", "--json")
    assert (status, json.loads(output)["policy"]) == (0, POLICY.decode())
    assert (await command(lab, "list", "--mode", "off"))[0] == 2


async def test_what_was_exported_is_imported_elsewhere_with_its_times(lab: Lab) -> None:
    await learn(lab)
    _, lines = await command(lab, "export")
    _, rows = await command(lab, "list")
    file = lab.folder / "policies.jsonl"
    file.write_text(lines)
    for cache in lab.folder.glob("cache.sqlite3*"):
        cache.unlink()
    told = (0, "1 taken over, 0 known already, 0 ended since\n")
    assert await command(lab, "import", str(file)) == told
    assert await command(lab, "list") == (0, rows)
    file.write_text(lines + "no json\n")
    status, output = await command(lab, "import", str(file))
    assert (status, output.endswith("; nothing was taken over\n")) == (2, True)


async def test_shadow_tells_what_enforcement_would_have_changed(lab: Lab) -> None:
    daemon = lab.daemon(mode="shadow", shadow_file=str(lab.folder / "shadow.sqlite3"))
    assert isinstance(daemon.answers, ShadowAnswers)
    await ask(daemon)
    await ask(daemon, "other.test")
    await daemon.answers.settle()
    await daemon.answers.journal.flush()
    await daemon.answers.close()
    await daemon.knowledge.close()
    file = f'"{lab.folder / "shadow.sqlite3"}"'
    status, output = await command(lab, "shadow", shadow_file=file)
    assert status == 0
    assert output.startswith(f"{DOMAIN}  sts-enforce  would be told: OK secure match=mx.example.test ")
    assert output.count("\n") == 1
    assert await command(lab, "shadow", "--deferred", shadow_file=file) == (0, "")
    status, output = await command(lab, "shadow", "--json", shadow_file=file)
    assert json.loads(output)["row"] == "sts-enforce"
    log = lab.folder / "mail.log"
    log.write_text(maillog("mx.else.test"))
    _, output = await command(lab, "shadow", "--deferred", "--maillog", str(log), shadow_file=file)
    assert "would wait: mx.else.test[192.0.2.1]:25: its name is none of mx.example.test" in output
    log.write_text(maillog("mx.example.test"))
    assert await command(lab, "shadow", "--deferred", "--maillog", str(log), shadow_file=file) == (0, "")


async def test_a_daemon_in_shadow_mode_serves_its_socket(lab: Lab) -> None:
    file = lab.folder / "shadow.sqlite3"
    process = await make_process(lab, mode='"shadow"', shadow_file=f'"{file}"').start()
    async with await Client.connect(process.port) as client:
        assert await client.ask(DOMAIN) == "NOTFOUND "
        async with asyncio.timeout(20):
            while "decision-changed" not in await process.line():
                pass
    assert await process.stop(signal.SIGTERM) == 0
    assert [row.row for row in read_journal(file)] == ["sts-enforce"]


def maillog(relay: str) -> str:
    head = "Nov 27 22:40:16 mx1 postfix/smtp[1]: "
    deliveries = [
        f"{head}053D2220630: to=<a@{domain}>, relay={relay}[192.0.2.1]:25, delay=1, dsn=2.0.0, status=sent (x)"
        for domain in (DOMAIN, "plain.test")
    ]
    return "\n".join(
        [f"{head}Trusted TLS connection established to {relay}[192.0.2.1]:25: TLSv1.3", *deliveries]
    )


async def test_replay_tells_what_would_wait_and_its_status_says_so(lab: Lab) -> None:
    log = lab.folder / "mail.log.1.gz"
    log.write_bytes(gzip.compress(maillog("mx.else.test").encode()))
    status, output = await command(lab, "replay", str(log))
    assert status == 1
    assert output.startswith(f"{DOMAIN}  would wait  sts-enforce  OK secure match=mx.example.test ")
    assert "mx.else.test[192.0.2.1]:25: its name is none of mx.example.test]" in output
    assert "2 deliveries to 2 domains, Nov 27 to Nov 27: 1 would wait, 1 as before." in output
    log.write_text(maillog("mx.example.test"))
    status, output = await command(lab, "replay", str(log), "--json", "--all")
    rows = [json.loads(line) for line in output.splitlines()]
    assert status == 0
    assert [(row["domain"], row["outcome"]) for row in rows] == [
        (DOMAIN, "protected"),
        ("plain.test", "same"),
    ]
    assert not (lab.folder / "cache.sqlite3").exists()


async def test_replay_names_a_file_that_it_cannot_read(lab: Lab) -> None:
    log = lab.folder / "mail.log"
    for content, words in ((b"\x1f\x8b...", "mail.log: "), (b"x\n", "mailward: 1 lines, and none")):
        log.write_bytes(content)
        status, output = await command(lab, "replay", str(log))
        assert (status, words in output) == (2, True), output


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
