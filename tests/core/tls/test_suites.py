"""Names and numbers as IANA's registry has them, and what is weak."""

import random

import pytest

from mailward.core.tls.hello import RANDOM_BYTES, HelloAnswer, make_hello
from mailward.core.tls.suites import Weakness, names, offers, weaknesses

# from RFC 5246 appendix A.5, RFC 4346, RFC 5289, RFC 5932, RFC 6655, RFC 7905, RFC 8422, RFC 8446, RFC 9150
REGISTERED = {
    0x0003: "TLS_RSA_EXPORT_WITH_RC4_40_MD5",
    0x000A: "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    0x001B: "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA",
    0x0034: "TLS_DH_anon_WITH_AES_128_CBC_SHA",
    0x003A: "TLS_DH_anon_WITH_AES_256_CBC_SHA",
    0x003B: "TLS_RSA_WITH_NULL_SHA256",
    0x0040: "TLS_DHE_DSS_WITH_AES_128_CBC_SHA256",
    0x006D: "TLS_DH_anon_WITH_AES_256_CBC_SHA256",
    0x0089: "TLS_DH_anon_WITH_CAMELLIA_256_CBC_SHA",
    0x009B: "TLS_DH_anon_WITH_SEED_CBC_SHA",
    0x00A7: "TLS_DH_anon_WITH_AES_256_GCM_SHA384",
    0x00C5: "TLS_DH_anon_WITH_CAMELLIA_256_CBC_SHA256",
    0x1302: "TLS_AES_256_GCM_SHA384",
    0xC007: "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    0xC019: "TLS_ECDH_anon_WITH_AES_256_CBC_SHA",
    0xC028: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
    0xC032: "TLS_ECDH_RSA_WITH_AES_256_GCM_SHA384",
    0xC079: "TLS_ECDH_RSA_WITH_CAMELLIA_256_CBC_SHA384",
    0xC0AF: "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8",
    0xCCAA: "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}


def test_numbers_have_their_registered_names() -> None:
    assert {code: names()[code] for code in REGISTERED} == REGISTERED
    assert len(set(names().values())) == len(names())


@pytest.mark.parametrize(
    "name, expected",
    [
        ("TLS_AES_128_GCM_SHA256", set()),
        ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", set()),
        ("TLS_DHE_RSA_WITH_AES_128_CBC_SHA", set()),
        ("TLS_RSA_WITH_AES_128_GCM_SHA256", {Weakness.NO_FORWARD_SECRECY}),
        ("TLS_ECDH_RSA_WITH_AES_128_GCM_SHA256", {Weakness.NO_FORWARD_SECRECY}),
        ("TLS_ECDH_anon_WITH_AES_128_CBC_SHA", {Weakness.ANONYMOUS}),
        ("TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA", {Weakness.SMALL_BLOCKS}),
        ("TLS_DHE_RSA_WITH_DES_CBC_SHA", {Weakness.EXPORT}),
        ("TLS_RSA_EXPORT_WITH_RC4_40_MD5", {Weakness.EXPORT, Weakness.NO_FORWARD_SECRECY}),
        ("TLS_ECDHE_RSA_WITH_RC4_128_SHA", {Weakness.RC4}),
        ("TLS_SHA256_SHA256", {Weakness.NULL}),
        ("TLS_ECDHE_RSA_WITH_NULL_SHA", {Weakness.NULL}),
        ("0xFFFF", set()),
    ],
)
def test_what_is_weak_about_a_suite(name: str, expected: set[Weakness]) -> None:
    assert weaknesses(name) == expected


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"])
def test_each_suite_is_offered_once_the_weakest_last(version: str) -> None:
    for piece in offers(version):
        assert len(piece) <= 128
        counts = [len(weaknesses(names()[code])) for code in piece]
        assert counts == sorted(counts)
    offered = [code for piece in offers(version) for code in piece]
    assert len(offered) == len(set(offered))


def test_whatever_a_server_sends_is_read_or_refused() -> None:
    source = random.Random(5)
    for _ in range(3000):
        answer = HelloAnswer()
        answer.receive(
            source.choice((b"\x16\3\3", b"\x15\3\1", b"")) + source.randbytes(source.randrange(1, 90))
        )
        for _ in range(40):
            answer.receive(source.randbytes(4000))
        assert answer.outcome is not None


def test_a_hello_is_one_record() -> None:
    hello = make_hello("mx.example", "TLSv1.2", offers("TLSv1.2")[0], bytes(RANDOM_BYTES))
    assert hello[:3] == b"\x16\3\1"
    assert int.from_bytes(hello[3:5], "big") == len(hello) - 5
    assert b"mx.example" in hello
