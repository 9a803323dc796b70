from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.core.check.made import MX, NOW, chain

from mailward.core.certificate import Certificate, CertificateUnreadable, read_certificate


def read(kind: str, name: str = MX) -> Certificate:
    return read_certificate(chain(kind, name).certificates[0].public_bytes(Encoding.DER))


def test_what_senders_look_at_is_read() -> None:
    certificate = read("good")
    assert certificate.names == (MX,)
    assert certificate.key == "EC secp256r1"
    assert certificate.weakness == ""
    assert certificate.has_issuer_url
    assert not certificate.is_self_issued
    assert timedelta(days=59) < certificate.not_after - NOW < timedelta(days=61)


def test_a_weak_key_is_told() -> None:
    assert read("weak-key").weakness == "an RSA key of 1024 bits"


def test_the_common_name_is_no_name() -> None:
    certificate = read("common-name")
    assert (certificate.names, certificate.common_name) == ((), MX)
    assert not certificate.names_host(MX)


# RFC 6125 section 6.4: the wildcard is the whole left-most label, and one label
@pytest.mark.parametrize(
    "name, host, is_named",
    [
        ("mx.example.test", "MX.example.test", True),
        ("*.example.test", "mx.example.test", True),
        ("*.example.test", "a.mx.example.test", False),
        ("*.example.test", "example.test", False),
        ("m*.example.test", "mx.example.test", False),
    ],
)
def test_which_hosts_a_certificate_names(name: str, host: str, is_named: bool) -> None:
    assert read("good", name).names_host(host) is is_named


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"\xff" * 200, b"\x30\x82\xff\xff", b"0" * 70_000])
def test_what_is_no_certificate_is_refused_with_a_reason(der: bytes) -> None:
    with pytest.raises(CertificateUnreadable, match="certificate"):
        read_certificate(der)


def test_a_certificate_with_any_byte_changed_is_read_or_refused_and_nothing_else() -> None:
    der = chain("good", MX).certificates[0].public_bytes(Encoding.DER)
    for at in range(len(der)):
        try:
            read_certificate(der[:at] + bytes([der[at] ^ 0x55]) + der[at + 1 :])
        except CertificateUnreadable:
            continue
