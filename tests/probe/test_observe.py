"""From the network to facts, with a real DNS server and a mail server on loopback."""

import asyncio
import socket
from typing import Any

import pytest
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.mailserver import FakeMailServer

from mailward.core.check.facts import Facts, Found, Reach
from mailward.core.check.run import run
from mailward.core.names import Domain, is_address
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver
from mailward.probe.observe import MAX_MX_HOSTS, Observer, Ways

DOMAIN = Domain("example.test")


async def observe(dns: FakeDns, ways: Ways, *domains: str) -> list[Facts]:
    async with dns:
        observer = Observer(Resolver([dns.address]), Guard(allow_private=True), ways)
        return await asyncio.gather(*(observer.observe(Domain(name)) for name in domains or (DOMAIN,)))


@pytest.fixture
def dns() -> FakeDns:
    made = FakeDns()
    made.set(DOMAIN, "MX", "20 b.example.test.", "10 z.example.test.", "10 a.example.test.")
    for name in "abz":
        made.set(f"{name}.example.test", "A", "127.0.0.1")
    return made


async def test_hosts_come_by_preference_then_name(dns: FakeDns) -> None:
    [facts] = await observe(dns, Ways(has_smtp=False))
    assert [host.name for host in facts.hosts] == ["a.example.test", "z.example.test", "b.example.test"]
    assert all(host.sessions == () for host in facts.hosts)


async def test_without_mx_records_the_domain_is_its_own_host(dns: FakeDns) -> None:
    dns.remove(DOMAIN, "MX")
    dns.set(DOMAIN, "A", "127.0.0.1")
    [facts] = await observe(dns, Ways(has_smtp=False))
    assert [host.name for host in facts.hosts] == [DOMAIN]


async def test_a_null_mx_names_nobody(dns: FakeDns) -> None:
    dns.set(DOMAIN, "MX", "0 .")
    [facts] = await observe(dns, Ways(has_smtp=False))
    assert facts.hosts == ()


async def test_where_the_dns_fails_nothing_is_made_up(dns: FakeDns) -> None:
    dns.fail(Fault.SERVFAIL)
    [facts] = await observe(dns, Ways())
    assert (facts.mx.found, facts.sts.found, facts.hosts) == (Found.FAILED, Found.FAILED, ())


async def test_a_hundred_mx_hosts_are_not_all_looked_at(dns: FakeDns) -> None:
    dns.set(DOMAIN, "MX", *(f"10 mx{number}.example.test." for number in range(100)))
    [facts] = await observe(dns, Ways(has_smtp=False))
    assert (len(facts.hosts), facts.skipped_hosts) == (MAX_MX_HOSTS, 100 - MAX_MX_HOSTS)
    assert "80 more MX hosts" in [each.about for each in run(facts).unobserved]


async def test_when_time_is_over_no_connection_is_begun(dns: FakeDns) -> None:
    server = FakeMailServer()
    with server.running():
        [facts] = await observe(dns, Ways(smtp_port=server.port, domain_seconds=0))
    assert server.commands == []
    assert {session.reach for host in facts.hosts for session in host.sessions} == {Reach.SILENT}
    assert "no time was left" in run(facts).unobserved[-1].reason


async def test_a_host_of_several_domains_is_spoken_to_once(dns: FakeDns) -> None:
    server = FakeMailServer(ehlo=b"250 mx\r\n")
    for name in ("one.test", "two.test", "three.test"):
        dns.set(name, "MX", "10 a.example.test.")
    with server.running():
        facts = await observe(dns, Ways(smtp_port=server.port), "one.test", "two.test", "three.test")
        await asyncio.sleep(0)
    assert server.commands == [server.commands[0], "QUIT"]
    assert len({each.hosts[0].sessions for each in facts}) == 1


async def test_mx_hosts_that_are_supposed_replace_the_real_ones(dns: FakeDns) -> None:
    async with dns:
        observer = Observer(Resolver([dns.address]), Guard(allow_private=True), Ways(has_smtp=False))
        facts = await observer.observe(DOMAIN, (Domain("b.example.test"),))
    assert [host.name for host in facts.hosts] == ["b.example.test"]


async def test_names_that_no_host_should_have_are_looked_up_as_senders_do(dns: FakeDns) -> None:
    dns.set(DOMAIN, "MX", "10 under_score.example.test.", r"20 a\.b\032c.example.test.", "30 192.0.2.1.")
    dns.set("under_score.example.test", "A", "127.0.0.1")
    [facts] = await observe(dns, Ways(has_smtp=False))
    assert [host.addresses for host in facts.hosts] == [("127.0.0.1",), (), ()]
    assert {finding.code for finding in run(facts).findings} >= {"mx-host-address", "mx-host-unresolvable"}


async def test_a_name_of_a_thousand_characters_is_looked_at_like_any_other(dns: FakeDns) -> None:
    label = r"\001" * 50
    name = ".".join([label] * 4)
    dns.set(DOMAIN, "MX", f"10 {name}.")
    dns.set(name, "A", "127.0.0.1")
    server = FakeMailServer(ends_after="220")
    with server.running():
        [facts] = await observe(dns, Ways(smtp_port=server.port))
        await asyncio.sleep(0)
    assert facts.hosts[0].sessions[0].tls_error == "the connection was closed during the handshake"


async def test_names_are_looked_up_in_the_dns_alone(dns: FakeDns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in /etc/hosts: names that strangers type in must not tell what this machine's own network calls things."""
    asked = []

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        if not is_address(host):
            asked.append(host)
            raise socket.gaierror(f"{host} was asked for")
        return real(host, *arguments, **options)

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    dns.set("mta-sts.example.test", "A", "127.0.0.1")
    dns.set("_mta-sts.example.test", "TXT", "v=STSv1; id=1;")
    dns.set(
        "_smtp._tls.example.test", "TXT", "v=TLSRPTv1; rua=https://localhost/r,mailto:a@localhost.localdomain"
    )
    server = FakeMailServer(ehlo=b"250 mx\r\n")
    with server.running():
        [facts] = await observe(dns, Ways(smtp_port=server.port, https_port=server.port))
    assert server.commands, "MX hosts were spoken to"
    assert [fetch.error for fetch in facts.policy_host.fetches] == ["tls"]
    assert [(target.host, target.takes_reports) for target in facts.targets] == [
        ("localhost", False),
        ("localhost.localdomain", False),
    ]
    assert asked == []
