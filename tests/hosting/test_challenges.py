"""Port 80 in a flood: the CA still finds its place; and behind a proxy."""

import asyncio
import threading

import pytest

from mailward.config import Settings
from mailward.core.acme.settings import Acme
from mailward.hosting.challenges import ChallengeHost, serve_challenges
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


V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 1 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 192, 0, 2, 1, 0, 1, 0, 80])


@pytest.mark.parametrize("header", [V1, V2, b""], ids=["v1", "v2", "none"])
async def test_a_proxy_in_front_says_who_asks(header: bytes) -> None:
    """The limit for each network holds for the proxy's clients; what comes without the header is cut off."""
    goes_on = threading.Event()

    def find(_token: str, _host: str) -> str:
        goes_on.wait(30)
        return f"{TOKEN}.thumbprint"

    host = ChallengeHost(Keyring([b"k" * 32]), find)
    settings = Settings(acme=Acme(http_listen=("127.0.0.1",), http_proxies=("127.0.0.1",)))
    server = await serve_challenges(settings, host, port=0)
    flood = [ask(host, "192.0.2.99") for _ in range(80)]
    await asyncio.sleep(0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        header + f"GET /.well-known/acme-challenge/{TOKEN} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()
    )
    status = (await asyncio.wait_for(reader.readline(), 20)).split()[1:2]
    assert status == ([b"503"] if header else [])
    goes_on.set()
    await asyncio.gather(*flood)
    writer.close()
    await server.close(grace_seconds=1)
    host.close()
