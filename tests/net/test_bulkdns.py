"""Many questions through few sockets, at a real DNS server on loopback."""

import asyncio

import pytest
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.ports import free_port

from mailward.net.answers import Answer, Status
from mailward.net.bulkdns import BulkResolver


def resolver(*servers: str, seconds: float = 2.0, retries: int = 1) -> BulkResolver:
    return BulkResolver(servers, attempt_seconds=seconds, retries=retries)


async def test_a_thousand_questions_get_their_own_answers() -> None:
    dns = FakeDns()
    for number in range(1000):
        dns.set(f"d{number}.test", "TXT", f"text {number}")
    async with dns:
        bulk = resolver(dns.address, seconds=20)
        places = asyncio.Semaphore(150)  # as many as the buffer of the fake's socket takes

        async def ask(number: int) -> Answer[bytes]:
            async with places:
                return await bulk.txt(f"d{number}.test")

        answers = await asyncio.gather(*(ask(number) for number in range(1000)))
        bulk.close()
    assert [answer.records for answer in answers] == [(f"text {number}".encode(),) for number in range(1000)]


async def test_aliases_and_long_answers_are_read_too() -> None:
    dns = FakeDns()
    dns.set("alias.test", "CNAME", "real.test.")
    dns.set("real.test", "A", "192.0.2.1")
    dns.set("long.test", "TXT", *(f"{number} {'x' * 200}" for number in range(30)))
    async with dns:
        bulk = resolver(dns.address)
        alias, long = await bulk.lookup("alias.test", "A"), await bulk.txt("long.test")
        bulk.close()
    assert (alias.records, alias.chain) == (("192.0.2.1",), ("real.test",))
    assert len(long.records) == 30


@pytest.mark.parametrize(
    "fault", [Fault.SILENCE, Fault.SERVFAIL, Fault.GARBAGE, Fault.FOREIGN_ID, Fault.OTHER_QUESTION]
)
async def test_what_is_no_answer_is_a_failure_with_its_reason(fault: Fault) -> None:
    dns = FakeDns()
    dns.set("a.test", "A", "192.0.2.1")
    dns.fail(fault)
    async with dns:
        bulk = resolver(dns.address, seconds=0.3, retries=0)
        answer = await bulk.lookup("a.test", "A")
        bulk.close()
    assert answer.status is Status.FAILED
    assert answer.reason


async def test_a_server_that_is_away_costs_one_try() -> None:
    dns = FakeDns()
    dns.set("a.test", "A", "192.0.2.1")
    async with dns:
        bulk = resolver(f"127.0.0.1:{free_port()}", dns.address, seconds=0.4)
        answers = [await bulk.lookup("a.test", "A") for _ in range(2)]
        bulk.close()
    assert [answer.records for answer in answers] == [("192.0.2.1",), ("192.0.2.1",)]


async def test_servers_take_turns() -> None:
    one, two = FakeDns(), FakeDns()
    async with one, two:
        bulk = resolver(one.address, two.address)
        for number in range(10):
            await bulk.lookup(f"d{number}.test", "A")
        bulk.close()
    assert (len(one.queries), len(two.queries)) == (5, 5)
