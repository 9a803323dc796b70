"""Which cipher suites are accepted: real OpenSSL, and servers with suites that no OpenSSL of today has."""

import asyncio
import ssl
from pathlib import Path

import pytest
from tests.fakes.mailserver import FakeMailServer
from tests.fakes.pickyserver import PickyServer, server_hello
from tests.zoo.certs import Zoo

from mailward.core.check.facts import Ciphers
from mailward.core.tls.suites import names
from mailward.net.ciphers import MAX_OFFERS, list_ciphers
from mailward.net.guard import Guard
from mailward.net.smtpdial import Caller, Patience

MX = "mx.example.test"
QUICK = Patience(connect=2, answer=2, total=5, pause=0)
RC4, EXPORT, DES3, GCM = 0x0005, 0x0003, 0x000A, 0xC02F


async def ask(server: FakeMailServer, patience: Patience = QUICK) -> Ciphers:
    with server.running():
        found = await list_ciphers(
            MX, "127.0.0.1", Caller("probe.test", Guard(allow_private=True), None, server.port, patience)
        )
        await asyncio.sleep(0)
    return found


async def test_openssl_is_heard_out_in_every_version(tmp_path: Path) -> None:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "chain.pem").write_bytes(Zoo(tmp_path).issue("good", MX).pem)
    made.load_cert_chain(tmp_path / "chain.pem")
    with pytest.deprecated_call():
        made.minimum_version = ssl.TLSVersion.TLSv1
    wanted = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-SHA:AECDH-AES128-SHA:ECDHE-ECDSA-NULL-SHA"
    made.set_ciphers(f"{wanted}:@SECLEVEL=0")
    old = {
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDH_anon_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_NULL_SHA",
    }
    found = await ask(FakeMailServer(made))
    assert found.unfinished == ""
    assert {version: set(suites) for version, suites in found.accepted} == {
        "TLSv1": old,
        "TLSv1.1": old,
        "TLSv1.2": old | {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
        "TLSv1.3": {
            "TLS_AES_256_GCM_SHA384",
            "TLS_AES_128_GCM_SHA256",
            "TLS_CHACHA20_POLY1305_SHA256",
        },
    }


async def test_suites_that_nobody_makes_any_more_are_found_in_the_servers_order() -> None:
    server = PickyServer({0x0301: [EXPORT, DES3, RC4], 0x0303: [GCM, RC4], 0x0304: [0x1303]})
    assert await ask(server) == Ciphers(
        (
            (
                "TLSv1",
                (
                    "TLS_RSA_EXPORT_WITH_RC4_40_MD5",
                    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
                    "TLS_RSA_WITH_RC4_128_SHA",
                ),
            ),
            ("TLSv1.2", ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_RC4_128_SHA")),
            ("TLSv1.3", ("TLS_CHACHA20_POLY1305_SHA256",)),
        )
    )
    assert server.commands[:2] == ["EHLO probe.test", "STARTTLS"]


async def test_no_offer_is_larger_than_servers_bear_and_none_twice_the_same() -> None:
    server = PickyServer({0x0301: [RC4], 0x0303: [GCM, RC4]})
    await ask(server)
    assert all(len(suites) <= 128 for _, suites in server.hellos)
    assert len({(version, tuple(suites)) for version, suites in server.hellos}) == len(server.hellos)
    # one for each that is accepted, and one more for each piece: 1.0, 1.1, two of 1.2, 1.3
    assert len(server.hellos) == 3 + 5


@pytest.mark.parametrize(
    "always",
    [
        pytest.param(server_hello(0x0301, 0x1305), id="a suite that was not offered"),
        pytest.param(server_hello(0x0300, RC4), id="a version that was not offered"),
        pytest.param(b"\x16\3\1\0\6\2\0\0\2\3\3", id="cut off"),
        pytest.param(b"\x16\3\1\0\5\13\0\0\1\0", id="another message"),
        pytest.param(b"\x16\3\1\xff\xff", id="a record too large"),
        pytest.param(b"500 5.5.1 what?\r\n", id="no TLS"),
        pytest.param(b"\x15\3\1\0\0", id="an empty alert"),
        pytest.param(b"\x15\3\1\0\2\2\x28", id="an alert"),
        pytest.param(b"", id="nothing, and closed"),
    ],
)
async def test_whatever_else_is_answered_accepts_nothing_and_ends(always: bytes) -> None:
    server = PickyServer({})
    server.always = always
    assert await ask(server) == Ciphers()
    assert len(server.hellos) == 5


async def test_a_warning_before_the_choice_is_passed_over() -> None:
    server = PickyServer({})
    server.always = bytes.fromhex("15030100020170") + server_hello(0x0303, GCM)
    found = await ask(server)
    assert found.accepted == (("TLSv1.2", ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)),)


async def test_a_server_that_takes_everything_is_left_alone_in_the_end() -> None:
    server = PickyServer(dict.fromkeys((0x0301, 0x0302, 0x0303), sorted(names())))
    found = await ask(server)
    assert len(server.hellos) == MAX_OFFERS
    assert found.unfinished == f"ended after {MAX_OFFERS} connections"


async def test_time_ends_it_too() -> None:
    found = await ask(PickyServer({}), Patience(many=0))
    assert found == Ciphers(unfinished="ended after 0 connections")


@pytest.mark.parametrize(
    "server, words",
    [
        (FakeMailServer(greeting=b"421 4.7.0 too many connections\r\n"), "too many connections"),
        (FakeMailServer(ehlo=b"250 mx\r\n"), "before TLS it says 250 mx"),
        (FakeMailServer(hangs_after="connect"), "no answer in time"),
    ],
)
async def test_a_server_that_turns_us_away_is_not_asked_again(server: FakeMailServer, words: str) -> None:
    found = await ask(server, Patience(connect=1, answer=0.3, total=1, pause=0))
    assert found.accepted == ()
    assert words in found.unfinished


async def test_a_refused_connection_and_a_forbidden_address_say_so() -> None:
    closed = Caller("probe.test", Guard(allow_private=True), None, 1)
    assert (await list_ciphers(MX, "127.0.0.1", closed)).unfinished == "port 1: connection refused"
    found = await list_ciphers(MX, "127.0.0.1", Caller("probe.test", Guard()))
    assert "loopback" in found.unfinished
