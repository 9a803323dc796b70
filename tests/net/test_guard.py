import os
import subprocess
import sys

import pytest

from mailward.config import Console, Dns, Nameserver, PolicyHost, Settings, Watch
from mailward.net.guard import AddressRefused, Guard, OwnAddressRefused, make_probe_guard


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


OURS = "8.8.4.4"
IN_A_NAMESPACE = """
import subprocess
from mailward.net.guard import Guard
run = lambda line: subprocess.run(line.split(), check=True)
run("ip link set lo up")
run("ip link add eth9 type veth peer name eth8")
run("ip link set eth8 up")
run("ip link set eth9 up")
run("ip address add 203.0.114.5/24 dev eth9")
run("ip address add 2a00:1450::5/64 dev eth9 nodad")
run("ip route add default via 203.0.114.1")
run("ip route add default via 2a00:1450::1")
guard = Guard(forbid_own=True)
addresses = "203.0.114.5 203.0.114.6 8.8.8.8 2a00:1450::5 2a00:1450::6 ::ffff:203.0.114.5 64:ff9b::cb00:7205".split()
print([address for address in addresses if not guard.allows(address, 25)])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_the_public_addresses_of_this_machine_are_refused_also_inside_others() -> None:
    command = ["unshare", "--net", sys.executable, "-c", IN_A_NAMESPACE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    refused = ["203.0.114.5", "2a00:1450::5", "::ffff:203.0.114.5", "64:ff9b::cb00:7205"]
    assert done.stdout.strip() == str(refused)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(dns=Dns(own_addresses=(OURS,))),
        Settings(nameserver=Nameserver(listen=(OURS,))),
        Settings(nameserver=Nameserver(policy_addresses=(OURS,))),
        Settings(nameserver=Nameserver(zone="example.org", servers=(f"ns1.example.org={OURS}",))),
        Settings(policy_host=PolicyHost(nodes=(f"{OURS}:8443",))),
        Settings(console=Console(listen=(OURS,))),
        Settings(watch=Watch(source_v4=OURS)),
    ],
)
def test_addresses_that_the_settings_call_ours_are_refused_but_where_everybody_is_served(
    settings: Settings,
) -> None:
    guard = make_probe_guard(settings)
    with pytest.raises(OwnAddressRefused, match="an address of our own"):
        guard.check(OURS, 25)
    assert guard.allows(OURS, 443), "domains whose policy we serve lead here"
    assert not guard.allows(OURS), "no port, no exception"
    assert guard.allows("8.8.8.8", 25)


def test_own_addresses_pass_where_the_operator_says_so() -> None:
    settings = Settings(dns=Dns(own_addresses=(OURS,), allow_own_addresses=True))
    assert make_probe_guard(settings).allows(OURS, 25)
    laboratory = Settings(dns=Dns(own_addresses=(OURS,), allow_private_addresses=True))
    assert make_probe_guard(laboratory).allows(OURS, 25)
