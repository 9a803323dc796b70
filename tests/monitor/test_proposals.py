from collections.abc import AsyncIterator

import pytest
from tests.fakes.dns import FakeDns, Fault

from mailward.core.names import Domain
from mailward.monitor.proposals import MxProposal, propose_mx
from mailward.net.resolver import Resolver

DOMAIN = Domain("example.test")


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    async with FakeDns() as server:
        yield server


async def propose(dns: FakeDns, *mx: str) -> MxProposal:
    dns.set(DOMAIN, "MX", *mx)
    return await propose_mx(Resolver([dns.address], timeout_seconds=5), DOMAIN)


async def test_the_live_hosts_are_proposed_by_their_exact_names(dns: FakeDns) -> None:
    assert await propose(dns, "20 MX2.example.test.", "10 mx1.example.test.") == MxProposal(
        ("mx1.example.test", "mx2.example.test")
    )


async def test_google_is_known_and_the_exact_list_comes_first(dns: FakeDns) -> None:
    proposal = await propose(
        dns, "1 aspmx.l.google.com.", "5 alt1.aspmx.l.google.com.", "5 alt2.aspmx.l.google.com."
    )
    assert proposal.hosts[0] == "aspmx.l.google.com"
    assert proposal.provider == "Google Workspace"
    assert proposal.patterns == ("aspmx.l.google.com", "*.aspmx.l.google.com")


async def test_googles_old_names_need_a_pattern_more(dns: FakeDns) -> None:
    proposal = await propose(dns, "1 aspmx.l.google.com.", "10 aspmx2.googlemail.com.")
    assert "*.googlemail.com" in proposal.patterns


@pytest.mark.parametrize(
    "host, provider, patterns",
    [
        ("smtp.google.com", "Google Workspace", ()),
        ("example-test.mail.protection.outlook.com", "Microsoft 365", ("*.mail.protection.outlook.com",)),
        ("example-test.n-v1.mx.microsoft", "Microsoft 365", ()),
        ("mail.protection.outlook.com.evil.test", None, ()),
    ],
)
async def test_providers_are_told_by_their_hosts(
    dns: FakeDns, host: str, provider: str | None, patterns: tuple[str, ...]
) -> None:
    proposal = await propose(dns, f"0 {host}.")
    assert (proposal.hosts, proposal.provider, proposal.patterns) == ((host,), provider, patterns)


async def test_a_mixed_set_is_no_providers(dns: FakeDns) -> None:
    assert (await propose(dns, "1 aspmx.l.google.com.", "5 mx.example.test.")).provider is None


async def test_hosts_that_no_policy_can_name_are_left_out_and_said(dns: FakeDns) -> None:
    proposal = await propose(dns, "1 my_mx.example.test.", "5 mx.example.test.")
    assert proposal.hosts == ("mx.example.test",)
    assert "my_mx.example.test" in proposal.reason


async def test_without_mx_the_domain_itself_takes_the_mail(dns: FakeDns) -> None:
    dns.set(DOMAIN, "A", "192.0.2.1")
    assert (await propose(dns)).hosts == ("example.test",)


@pytest.mark.parametrize("mx, words", [((), "takes no mail"), (("0 .",), "null MX")])
async def test_a_domain_without_mail_gets_no_proposal(dns: FakeDns, mx: tuple[str, ...], words: str) -> None:
    proposal = await propose(dns, *mx)
    assert proposal.hosts == ()
    assert words in proposal.reason


async def test_a_failing_dns_is_said(dns: FakeDns) -> None:
    dns.fail(Fault.SERVFAIL)
    assert "SERVFAIL" in (await propose(dns)).reason
