"""Shadow mode: Postfix gets what it would get without us, and we write down what we would have said."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sender.lab import DOMAIN, SECURE, Lab
from tests.sender.test_answers import ask

from mailward.core.postfix.netstring import encode
from mailward.sender.daemon import Daemon
from mailward.sender.shadow import MAX_ROWS, ShadowAnswers, Shadowed, read_journal, would_matter
from mailward.sender.sitetable import SiteTableInvalid, open_site_table, parse_texthash


@asynccontextmanager
async def shadowing(lab: Lab, table: str = "") -> AsyncIterator[Daemon]:
    daemon = lab.daemon(mode="shadow", shadow_table=table)
    assert isinstance(daemon.answers, ShadowAnswers)
    yield daemon
    await daemon.answers.close()
    await daemon.knowledge.close()


async def written(daemon: Daemon) -> list[Shadowed]:
    assert isinstance(daemon.answers, ShadowAnswers)
    await daemon.answers.settle()
    await daemon.answers.journal.flush()
    return read_journal(daemon.settings.sender_shadow_path)


async def test_postfix_is_told_nothing_and_the_decision_is_written_down(lab: Lab) -> None:
    lab.publish()
    async with shadowing(lab) as daemon:
        assert await ask(daemon) == "NOTFOUND "
        [row] = await written(daemon)
        assert (row.nexthop, row.row, row.answer, row.site) == (DOMAIN, "sts-enforce", SECURE, "NOTFOUND ")
        found = daemon.answers.memo.find(encode(f"QUERY {DOMAIN}".encode()))
        assert found is not None
        assert found[0] == encode(b"NOTFOUND ")
        assert would_matter([row]) == [row]


async def test_what_has_no_policy_is_not_written_down(lab: Lab) -> None:
    async with shadowing(lab) as daemon:
        assert await ask(daemon) == "NOTFOUND "
        assert await written(daemon) == []


async def keep_waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_the_answer_does_not_wait_for_the_network(lab: Lab) -> None:
    lab.publish()
    lab.host.response = keep_waiting
    async with shadowing(lab) as daemon:
        async with asyncio.timeout(2):
            assert await ask(daemon) == "NOTFOUND "


async def test_a_text_table_is_handed_on_and_read_again_when_it_changes(lab: Lab, tmp_path: Path) -> None:
    lab.publish()
    file = tmp_path / "tls_policy"
    file.write_text(f"# ours\n{DOMAIN}  encrypt\n   protocols=!SSLv3\n.sub.test verify\n")
    async with shadowing(lab, f"texthash:{file}") as daemon:
        assert await ask(daemon, DOMAIN.upper()) == "OK encrypt protocols=!SSLv3"
        assert await ask(daemon, ".sub.test") == "OK verify"
        assert [row.site for row in await written(daemon)] == ["OK encrypt protocols=!SSLv3"]
        file.write_text("other.test may\n")
        assert await ask(daemon, DOMAIN.upper()) == "NOTFOUND "
        file.unlink()
        assert (await ask(daemon)).startswith("TEMP shadow_table: ")


async def serve_table(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Another server: it ends the connection when it is asked for die.test."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while length := await reader.readuntil(b":"):
            question = (await reader.readexactly(int(length[:-1]) + 1))[:-1]
            if question.endswith(b"die.test"):
                break
            writer.write(encode(b"OK may " + question))
    writer.close()


async def test_another_server_is_handed_on_byte_by_byte(lab: Lab) -> None:
    server = await asyncio.start_server(serve_table, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, shadowing(lab, f"socketmap:inet:127.0.0.1:{port}:old") as daemon:
        assert await ask(daemon) == f"OK may old {DOMAIN}"
        assert await ask(daemon, ".example.test") == "OK may old .example.test"
        assert (await ask(daemon, "die.test")).startswith("TEMP shadow_table 127.0.0.1:")
        assert await ask(daemon) == f"OK may old {DOMAIN}"


async def test_a_table_that_is_down_is_an_error_as_it_would_be_without_us(lab: Lab) -> None:
    async with shadowing(lab, "socketmap:inet:127.0.0.1:1:old") as daemon:
        assert (await ask(daemon)).startswith("TEMP shadow_table 127.0.0.1:1: ")


@pytest.mark.parametrize(
    "setting",
    ["hash:/x", "socketmap:inet:x", "socketmap:tcp:a:1:b", "socketmap:inet:host:name", "texthash:/nowhere"],
)
def test_tables_that_cannot_be_used_refuse_to_start(setting: str) -> None:
    with pytest.raises(SiteTableInvalid):
        open_site_table(setting)


def test_texthash_is_read_as_postfix_reads_it() -> None:
    text = b"\n # c\nA.test may\nb.test\nc.test secure  match=x\n  ciphers=high\na.TEST encrypt\n"
    assert parse_texthash(text) == {b"a.test": b"encrypt", b"c.test": b"secure  match=x ciphers=high"}


@given(st.binary(max_size=300))
def test_whatever_a_table_holds_it_is_read(text: bytes) -> None:
    for key, value in parse_texthash(text).items():
        assert key
        assert value
        assert b"\n" not in key + value


REPLIES = [b"9:NOTFOUND,", b"x:", b"999999:x,", b"9999999:x,", b"3:abcd,", b"1" * 200_000]


@pytest.mark.parametrize("reply", REPLIES)
async def test_replies_that_are_none_are_errors_and_hold_nobody(lab: Lab, reply: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b",")
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, shadowing(lab, f"socketmap:inet:127.0.0.1:{port}:old") as daemon:
        assert (await ask(daemon)).startswith("TEMP shadow_table 127.0.0.1:")


async def test_the_journal_is_bounded(lab: Lab) -> None:
    async with shadowing(lab) as daemon:
        assert isinstance(daemon.answers, ShadowAnswers)
        journal = daemon.answers.journal
        rows: list[tuple[object, ...]]
        rows = [(f"{number}.test", "x", "x", "x", "x", number, number) for number in range(MAX_ROWS + 10)]
        await asyncio.to_thread(journal._write, rows)
        assert len(await written(daemon)) == MAX_ROWS
        assert "9.test" not in {row.nexthop for row in await written(daemon)}
