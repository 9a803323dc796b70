"""Port 80 in a flood: the CA still finds its place."""

import asyncio
import threading

import pytest

from mailward.hosting.challenges import ChallengeHost
from mailward.net.httpserver import Request, Response
from mailward.net.sealing import Keyring

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"  # RFC 8555 section 8.3


def ask(host: ChallengeHost, peer: str) -> "asyncio.Task[Response]":
    path = f"/.well-known/acme-challenge/{TOKEN}"
    request = Request("GET", path, "", "mta-sts.example.test", {}, b"", peer, None, False)
    return asyncio.create_task(host.answer(request))


async def test_a_ca_that_asks_about_sixteen_orders_at_once_from_one_network_is_answered() -> None:
    goes_on = threading.Event()

    def find(_token: str, _host: str) -> str:
        goes_on.wait(30)
        return f"{TOKEN}.thumbprint"

    host = ChallengeHost(Keyring([b"k" * 32]), find)
    asked = [ask(host, f"198.51.100.{number % 4}") for number in range(16 * 4)]
    await asyncio.sleep(0)
    goes_on.set()
    assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
    host.close()


@pytest.mark.parametrize(
    "flood",
    [[f"192.0.2.{number}" for number in range(200)], [f"2001:db8::{number:x}" for number in range(200)]],
    ids=["IPv4", "IPv6"],
)
async def test_a_flood_from_one_network_leaves_room_for_the_ca(flood: list[str]) -> None:
    goes_on = threading.Event()

    def find(_token: str, _host: str) -> str:
        goes_on.wait(30)  # a database that is slow
        return f"{TOKEN}.thumbprint"

    host = ChallengeHost(Keyring([b"k" * 32]), find)
    strangers = [ask(host, peer) for peer in flood]
    await asyncio.sleep(0)
    ca = [ask(host, peer) for peer in ("198.51.100.7", "203.0.113.7", "2001:db8:1:100::7")]
    await asyncio.sleep(0)
    goes_on.set()
    assert [answer.status for answer in await asyncio.gather(*ca)] == [200, 200, 200]
    told = [answer.status for answer in await asyncio.gather(*strangers)]
    assert 0 < told.count(200) <= 80
    assert told.count(200) + told.count(503) == len(flood)
    # and everybody may ask again
    assert (await ask(host, flood[0])).status == 200
    host.close()
