import pytest

from mailward.net.guard import AddressRefused, Guard


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_addresses_of_the_internet_pass(address: str) -> None:
    Guard().check(address)


@pytest.mark.parametrize(
    "address, why",
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("10.1.2.3", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "carrier NAT"),
        ("169.254.169.254", "metadata services"),
        ("fe80::1%eth0", "link-local with zone"),
        ("fc00::1", "unique local"),
        ("fec0::1", "site-local"),
        ("0.0.0.0", "this host"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("240.0.0.1", "reserved"),
        ("192.0.2.1", "documentation"),
        ("::ffff:127.0.0.1", "IPv4 mapped"),
        ("::ffff:10.0.0.1", "IPv4 mapped"),
        ("64:ff9b::7f00:1", "NAT64 of loopback"),
        ("64:ff9b::a9fe:a9fe", "NAT64 of the metadata address"),
        ("2002:7f00:1::1", "6to4 of loopback"),
        ("example.com", "no address"),
        ("127.1", "short form"),
        ("", "nothing"),
    ],
)
def test_addresses_of_our_own_neighbourhood_are_refused(address: str, why: str) -> None:
    with pytest.raises(AddressRefused):
        Guard().check(address)
    assert not Guard().allows(address), why


def test_a_laboratory_may_use_private_addresses_but_no_multicast() -> None:
    guard = Guard(allow_private=True)
    assert guard.allows("127.0.0.1")
    assert guard.allows("fe80::1%eth0")
    assert not guard.allows("ff02::1")
    assert not guard.allows("0.0.0.0")
