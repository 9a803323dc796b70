"""What the world meets, against real servers on loopback: each check failing and passing for the right reason."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.doctor.looking import NOBODY, look, make_subject, told
from tests.fakes.certs import DAY, Authority
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.mailserver import FakeMailServer
from tests.fakes.policyhost import PolicyHost as TlsHost
from tests.fakes.policyhost import http
from tests.fakes.ports import free_port
from tests.fakes.relay import FakeRelay

from mailward.config import Dns, Doctor, Nameserver, PolicyHost, Relay, Reports, Sender, Watch
from mailward.core.doctor.finding import Finding, Grade
from mailward.core.mtasts.follow import Follow
from mailward.doctor.clock import look_at_clock
from mailward.doctor.delegation import look_at_delegation
from mailward.doctor.inbound import look_at_inbound
from mailward.doctor.names import look_at_names
from mailward.doctor.outbound import look_at_outbound
from mailward.doctor.relay import look_at_relay
from mailward.doctor.resolver import look_at_resolver
from mailward.doctor.subject import Subject
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.models import Domain
from mailward.store.services.following import set_follow

POLICIES, REPORTS = "policies.example.org", "reports.example.org"
NO_DATABASE = "there is none"


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    """A resolver that validates, and every zone's server too."""
    fake = FakeDns(authenticated=True)
    with fake.threaded():
        yield fake


def asking(dns: FakeDns) -> Dns:
    return Dns(resolvers=(dns.address,), authoritative_override=(dns.address,))


# resolver


def resolving(folder: Path, dns: FakeDns, no_database: str = NO_DATABASE) -> Subject:
    dns.set("secure.test", "SOA", "ns. host. 1 1 1 1 1")
    sender = Sender(dnssec_secure_name="secure.test", dnssec_bogus_name="bogus.test")
    return make_subject(
        folder,
        no_database=no_database,
        dns=Dns(resolvers=(dns.address,)),
        sender=sender,
        policy_host=PolicyHost(public_name=POLICIES),
    )


async def test_a_resolver_that_validates_is_well(tmp_path: Path, dns: FakeDns) -> None:
    dns.fail(Fault.SERVFAIL, "bogus.test")
    found = await look(look_at_resolver, resolving(tmp_path, dns))
    assert [each.grade for each in found] == [Grade.GOOD, Grade.GOOD]


async def test_one_that_does_not_validate_is_told(tmp_path: Path, dns: FakeDns) -> None:
    dns.authenticated = False
    assert list(await told(look_at_resolver, resolving(tmp_path, dns))) == ["no-validation"]


@pytest.mark.django_db(transaction=True)
async def test_changes_that_are_held_for_want_of_one_are_told(
    tmp_path: Path, dns: FakeDns, domain: Domain
) -> None:
    dns.authenticated = False
    await in_store(set_follow, domain.organisation_id, domain.pk, Follow.ALL, author_id=None)
    text = (await told(look_at_resolver, resolving(tmp_path, dns, "")))["no-validation"]
    assert "new MX hosts of the domain that follows its MX records are held where the zone is signed" in text


async def test_one_that_is_silent_is_a_problem_but_for_who_only_tries_things(
    tmp_path: Path, dns: FakeDns
) -> None:
    subject = make_subject(tmp_path, dns=NOBODY, policy_host=PolicyHost(public_name=POLICIES))
    assert "resolver-silent" in await told(look_at_resolver, subject)
    assert await told(look_at_resolver, make_subject(tmp_path, dns=NOBODY)) == {}


# names


async def test_names_that_lead_nowhere_come_with_the_record_that_mends_them(
    tmp_path: Path, dns: FakeDns
) -> None:
    subject = make_subject(
        tmp_path,
        dns=asking(dns),
        policy_host=PolicyHost(public_name=POLICIES),
        reports=Reports(domain=REPORTS, https_name=POLICIES),
        watch=Watch(enabled=False),
    )
    found = {each.code: each for each in await look(look_at_names, subject)}
    assert found["no-address"].fix.startswith(f"{POLICIES}. IN A ")
    assert found["no-mx"].fix == f"{REPORTS}. IN MX 10 {POLICIES}."
    dns.set(POLICIES, "A", "10.0.0.1")
    dns.set(REPORTS, "MX", f"10 {POLICIES}.")
    assert list(await told(look_at_names, subject)) == ["private-address"]
    dns.set(POLICIES, "A", "9.9.9.9")
    assert await told(look_at_names, subject) == {}


async def test_a_resolver_that_fails_makes_names_unseen_and_not_missing(tmp_path: Path, dns: FakeDns) -> None:
    dns.fail(Fault.SERVFAIL)
    subject = make_subject(
        tmp_path, dns=asking(dns), policy_host=PolicyHost(public_name=POLICIES), watch=Watch(enabled=False)
    )
    assert {each.grade for each in await look(look_at_names, subject)} == {Grade.UNSEEN}


async def test_names_are_asked_at_the_resolver_and_at_each_server_of_their_zone(
    tmp_path: Path, dns: FakeDns
) -> None:
    with FakeDns().threaded() as first, FakeDns().threaded() as second:
        subject = make_subject(
            tmp_path,
            dns=Dns(resolvers=(dns.address,), authoritative_override=(first.address, second.address)),
            policy_host=PolicyHost(public_name=POLICIES),
            reports=Reports(domain=REPORTS, https_name=POLICIES),
            watch=Watch(enabled=False),
        )
        for each in (dns, first, second):
            each.set(POLICIES, "A", "9.9.9.9", "149.112.112.112")
            each.set(REPORTS, "MX", f"10 {POLICIES}.")
        assert await told(look_at_names, subject) == {}
        dns.set(POLICIES, "A", "1.1.1.1")
        found = await told(look_at_names, subject)
        assert list(found) == ["resolver-differs"]
        assert "our resolver says 1.1.1.1" in found["resolver-differs"]
        dns.set(POLICIES, "A", "9.9.9.9")
        assert await told(look_at_names, subject) == {}, "some of many"
        second.set(POLICIES, "A", "8.8.4.4")
        found = await told(look_at_names, subject)
        assert list(found) == ["zone-servers-differ"]
        assert f"{second.address}: 8.8.4.4" in found["zone-servers-differ"]
        for each in (first, second):
            each.remove(POLICIES, "A")
        found = await told(look_at_names, subject)
        assert "though our resolver says 9.9.9.9" in found["no-address"]
        for each in (dns, first, second):
            each.remove(POLICIES, "A")
            each.set(POLICIES, "AAAA", "2620:fe::9")
        assert list(await told(look_at_names, subject)) == ["no-ipv4"]
        for each in (dns, first, second):
            each.set(POLICIES, "A", "9.9.9.9")
            each.set(REPORTS, "MX", "0 .")
        assert "takes no mail" in (await told(look_at_names, subject))["no-mx"]
        for each in (dns, first, second):
            each.set(REPORTS, "MX", "10 nowhere.example.org.")
        assert (await told(look_at_names, subject))["no-address"].startswith("nowhere.example.org")
        for each in (first, second):
            each.fail(Fault.SERVFAIL)
        dns.set(REPORTS, "MX", f"10 {POLICIES}.")
        assert await told(look_at_names, subject) == {}, (
            "what the resolver says, where nobody else can be asked"
        )


# services and ports


@contextlib.asynccontextmanager
async def serving(
    folder: Path, dns: FakeDns, host: TlsHost, mail: FakeMailServer, authority: Authority
) -> AsyncIterator[Subject]:
    """The policy host and the mail door, found by their names in DNS."""
    (folder / "lock").touch()
    dns.set(POLICIES, "A", "127.0.0.1")
    dns.set(REPORTS, "MX", f"10 {POLICIES}.")
    async with host.running():
        with mail.running():
            yield make_subject(
                folder / "open",  # no lock that could be looked at: as another user sees it
                no_database=NO_DATABASE,
                dns=asking(dns),
                policy_host=PolicyHost(public_name=POLICIES, port=host.port),
                reports=Reports(domain=REPORTS, smtp_port=mail.port, https_port=host.port),
                watch=Watch(https_port=host.port, smtp_port=mail.port, ca_file=str(authority.file)),
            )


def of_policy_host(found: list[Finding]) -> dict[str, str]:
    """What is wrong there; its name and the other door's are the same."""
    return {each.code: each.text for each in found if each.grade in (Grade.ADVICE, Grade.PROBLEM)}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def mail_door(authority: Authority, name: str = REPORTS) -> FakeMailServer:
    return FakeMailServer(authority.issue(name), greeting=b"220 reports.example.org ESMTP Mailward\r\n")


@pytest.fixture(autouse=True)
def it_runs(tmp_path: Path) -> Iterator[None]:
    """Held by whoever runs; began long ago, for all that can be told."""
    from mailward.cli.serve import locked

    with locked(tmp_path / "open"):
        (tmp_path / "open" / "lock").write_text("0\n0.2.0\n")
        yield


async def test_services_that_answer_with_the_right_certificates_are_well(
    tmp_path: Path, dns: FakeDns, authority: Authority
) -> None:
    host = TlsHost(authority.issue(POLICIES, REPORTS), http())
    async with serving(tmp_path, dns, host, mail_door(authority), authority) as subject:
        found = [each for each in await look(look_at_inbound, subject) if "console" not in each.text]
    assert of_policy_host(found) == {}
    good = [each.text for each in found if each.grade is Grade.GOOD]
    assert any(f"{POLICIES} at 127.0.0.1:{host.port}: answers with TLS 1.3" in text for text in good)
    # a firewall in front is never claimed to be open
    assert any("firewall" in each.text for each in found if each.grade is Grade.UNSEEN)


@pytest.mark.parametrize(
    "names, life, trusted, code",
    [
        (("elsewhere.example.org",), 30 * DAY, True, "certificate-name"),
        ((POLICIES, REPORTS), timedelta(minutes=-5), True, "certificate-ended"),
        ((POLICIES, REPORTS), timedelta(minutes=20), True, "certificate-ends"),
        ((POLICIES, REPORTS), 30 * DAY, False, "certificate-untrusted"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_certificate_that_senders_refuse_is_a_problem(
    tmp_path: Path,
    dns: FakeDns,
    authority: Authority,
    names: tuple[str, ...],
    life: timedelta,
    trusted: bool,
    code: str,
) -> None:
    issuer = authority if trusted else Authority(tmp_path, "Another Authority")
    host = TlsHost(issuer.issue(*names, expires_in=life), http())
    async with serving(tmp_path, dns, host, mail_door(authority), authority) as subject:
        found = of_policy_host(await look(look_at_inbound, subject))
    assert code in found
    assert set(found) - {code, "nobody-listens"} == set()


async def test_another_mail_server_in_front_is_a_note_and_no_starttls_a_problem(
    tmp_path: Path, dns: FakeDns, authority: Authority
) -> None:
    host = TlsHost(authority.issue(POLICIES, REPORTS), http())
    async with serving(tmp_path, dns, host, FakeMailServer(authority.issue(REPORTS)), authority) as subject:
        found = of_policy_host(await look(look_at_inbound, subject))
        assert "it has to hand report mail on to us" in found["other-mail-server"]
        # at the place where we listen ourselves it is one that should not be there
        assert "report mail at 127.0.0.1" in found["other-server"]
    plain = FakeMailServer(greeting=b"220 r ESMTP Mailward\r\n", ehlo=b"250 reports.example.org\r\n")
    async with serving(tmp_path, dns, host, plain, authority) as subject:
        seen = await look(look_at_inbound, subject)
        assert "answers without STARTTLS" in of_policy_host(seen)["no-starttls"]
        # none is ordered here, so that to look at orders is no help
        [fix] = [each.fix for each in seen if each.code == "no-starttls"]
        assert f"put one with its chain and key at {subject.settings.data_path}/certs/NAME.pem" in fix


async def test_a_mail_door_with_a_certificate_for_another_name_is_a_note(
    tmp_path: Path, dns: FakeDns, authority: Authority
) -> None:
    host = TlsHost(authority.issue(POLICIES, REPORTS), http())
    async with serving(tmp_path, dns, host, mail_door(authority, "x.test"), authority) as subject:
        found = of_policy_host(await look(look_at_inbound, subject))
    assert set(found) - {"nobody-listens"} == {"door-certificate"}


async def test_an_address_of_ours_where_nobody_answers_is_a_problem_and_one_elsewhere_is_not(
    tmp_path: Path, dns: FakeDns, authority: Authority
) -> None:
    dns.set(POLICIES, "A", "127.0.0.1")
    port = free_port()
    subject = make_subject(
        tmp_path / "open",
        dns=asking(dns),
        policy_host=PolicyHost(public_name=POLICIES, port=free_port()),
        reports=Reports(smtp_port=free_port(), https_port=free_port()),
        watch=Watch(https_port=port),
    )
    found = {each.code: each for each in await look(look_at_inbound, subject)}
    assert found["not-reached"].grade is Grade.PROBLEM
    assert f"policy_host.port = {port}" in found["not-reached"].fix
    # the discard prefix (RFC 6666): no interface has it; behind address translation the public one is like that
    dns.set(POLICIES, "A")
    dns.set(POLICIES, "AAAA", "100::7")
    unseen = [each.text for each in await look(look_at_inbound, subject) if each.grade is Grade.UNSEEN]
    assert any("100::7" in text and "not observed from here" in text for text in unseen)
    assert "not-reached" not in await told(look_at_inbound, subject)


async def test_a_node_that_does_not_answer_is_a_problem_that_says_where_to_take_it_out(
    tmp_path: Path, authority: Authority
) -> None:
    host, port = TlsHost(authority.issue(POLICIES), http()), free_port()
    async with host.running():
        subject = make_subject(
            tmp_path / "open",
            policy_host=PolicyHost(
                public_name=POLICIES, port=host.port, nodes=(f"127.0.0.1:{host.port}", f"127.0.0.2:{port}")
            ),
            nameserver=Nameserver(zone="sts.test", policy_addresses=("127.0.0.1", "127.0.0.2")),
            reports=Reports(smtp_port=free_port(), https_port=free_port()),
        )
        found = [each for each in await look(look_at_inbound, subject) if "node " in each.text]
    assert [each.code for each in found if each.grade is Grade.PROBLEM] == ["node-away"]
    assert f"node 127.0.0.1:{host.port}: answers" in [each.text for each in found]
    [away] = [each for each in found if each.code == "node-away"]
    assert f"node 127.0.0.2:{port}: " in away.text
    assert "take 127.0.0.2 out of policy_host.nodes and nameserver.policy_addresses on" in away.fix


async def test_a_port_that_another_program_has_is_told_while_we_are_down(
    tmp_path: Path, authority: Authority
) -> None:
    host = TlsHost(authority.issue("nginx.test"), http())
    async with host.running():
        subject = make_subject(
            tmp_path / "down",
            policy_host=PolicyHost(port=host.port),
            reports=Reports(smtp_port=free_port(), https_port=free_port()),
        )
        found = await told(look_at_inbound, subject)
    assert list(found) == ["port-taken"]
    assert f"policy host at 127.0.0.1:{host.port}" in found["port-taken"]


async def test_a_place_that_wants_a_proxy_header_is_not_asked_for_its_certificate(
    tmp_path: Path, authority: Authority
) -> None:
    mail = FakeMailServer(hangs_after="connect")
    with mail.running():
        subject = make_subject(
            tmp_path / "open",
            reports=Reports(smtp_port=mail.port, smtp_proxies=("127.0.0.0/8",), https_port=free_port()),
            policy_host=PolicyHost(port=free_port()),
        )
        good = [each.text for each in await look(look_at_inbound, subject) if each.grade is Grade.GOOD]
    assert any("report mail" in text and "PROXY header" in text for text in good)


# ways out


async def test_port_25_goes_out_or_does_not(tmp_path: Path, authority: Authority) -> None:
    with FakeMailServer(authority.issue("mx.test")).running() as server:
        target = Doctor(smtp_target=f"127.0.0.1:{server.port}")
        open_way = make_subject(tmp_path, doctor=target, no_database=NO_DATABASE)
        good = [each for each in await look(look_at_outbound, open_way) if each.grade is Grade.GOOD]
        assert "port 25 goes out to 127.0.0.1" in good[0].text
        # a real EHLO, with a name of ours
        assert any(command.startswith("EHLO ") for command in server.commands)
    closed = make_subject(
        tmp_path, doctor=Doctor(smtp_target=f"127.0.0.1:{free_port()}"), no_database=NO_DATABASE
    )
    found = await told(look_at_outbound, closed)
    assert "connection refused" in found["no-way-out-25"]


async def test_port_443_goes_out_or_does_not(tmp_path: Path, authority: Authority) -> None:
    async with TlsHost(authority.issue("www.test"), http()).running() as host:
        target = Doctor(https_target=f"127.0.0.1:{host.port}")
        found = await told(look_at_outbound, make_subject(tmp_path, doctor=target, no_database=NO_DATABASE))
        assert found == {}
    found = await told(look_at_outbound, make_subject(tmp_path, doctor=target, no_database=NO_DATABASE))
    assert list(found) == ["no-way-out-443"]


async def test_where_nobody_is_named_to_ask_nothing_is_claimed(tmp_path: Path) -> None:
    found = await look(look_at_outbound, make_subject(tmp_path, no_database=NO_DATABASE))
    assert {each.grade for each in found} == {Grade.UNSEEN}


# delegation

ZONE = "sts.example.org"


@pytest.fixture
def second(dns: FakeDns) -> Iterator[FakeDns]:
    """Another name server, at the same port of another address."""
    fake = FakeDns(host="127.0.0.2")
    fake.port = dns.port
    with fake.threaded():
        yield fake


def delegated(folder: Path, dns: FakeDns, *servers: str) -> Subject:
    return make_subject(
        folder,
        dns=asking(dns),
        nameserver=Nameserver(zone=ZONE, servers=servers),
        doctor=Doctor(dns_port=dns.port),
    )


async def test_a_delegation_that_all_servers_bear_out_is_well(
    tmp_path: Path, dns: FakeDns, second: FakeDns
) -> None:
    subject = delegated(tmp_path, dns, "ns1.example.org", "ns2.example.net")
    for fake in (dns, second):
        fake.delegate(ZONE, "ns1.example.org.", "ns2.example.net.")
    dns.set("ns1.example.org", "A", "127.0.0.1")
    dns.set("ns2.example.net", "A", "127.0.0.2")
    found = await look(look_at_delegation, subject)
    assert [each.grade for each in found] == [Grade.GOOD, Grade.GOOD]
    assert "2 addresses answer" in found[1].text
    assert {query.transport for query in second.queries} == {"udp", "tcp"}


async def test_a_zone_that_nobody_hands_on_comes_with_its_records(tmp_path: Path, dns: FakeDns) -> None:
    subject = delegated(tmp_path, dns, f"ns1.{ZONE}=192.0.2.1,2001:db8::1", "ns2.example.net")
    dns.set("example.org", "SOA", "ns. host. 1 1 1 1 1")
    (found,) = await look(look_at_delegation, subject)
    assert found.code == "not-delegated"
    assert found.fix.splitlines() == [
        f"{ZONE}. IN NS ns1.{ZONE}.",
        f"{ZONE}. IN NS ns2.example.net.",
        f"ns1.{ZONE}. IN A 192.0.2.1",
        f"ns1.{ZONE}. IN AAAA 2001:db8::1",
    ]


async def test_servers_that_differ_are_silent_or_know_nothing_are_told(
    tmp_path: Path, dns: FakeDns, second: FakeDns
) -> None:
    subject = delegated(tmp_path, dns, "ns1.example.org", "ns2.example.net")
    dns.delegate(ZONE, "ns1.example.org.", "ns2.example.net.")
    dns.set("ns1.example.org", "A", "127.0.0.1")
    dns.set("ns2.example.net", "A", "127.0.0.2")
    second.set(ZONE, "SOA", "ns1.example.org. h. 99 1 1 1 1")
    found = await told(look_at_delegation, subject)
    assert list(found) == ["serials-differ"]
    assert "ns2.example.net has 99" in found["serials-differ"]
    second.set(ZONE, "SOA")
    assert "server-lame" in await told(look_at_delegation, subject)
    dns.set("ns2.example.net", "A", "127.0.0.3")
    assert "ns2.example.net at 127.0.0.3 over" in (await told(look_at_delegation, subject))["server-silent"]
    dns.set("ns2.example.net", "A")
    found = await told(look_at_delegation, subject)
    assert list(found) == ["no-glue"]


async def test_behind_address_translation_our_own_address_is_unseen_and_a_secondary_is_not(
    tmp_path: Path, dns: FakeDns
) -> None:
    dns.delegate(ZONE, f"ns1.{ZONE}.", f"ns2.{ZONE}.")
    # the discard prefix (RFC 6666): nobody answers there, and no interface here has them
    dns.set(f"ns1.{ZONE}", "AAAA", "100::1")
    dns.set(f"ns2.{ZONE}", "AAAA", "100::2")
    subject = make_subject(
        tmp_path,
        dns=asking(dns),
        nameserver=Nameserver(
            zone=ZONE,
            servers=(f"ns1.{ZONE}=100::1", f"ns2.{ZONE}=100::2"),
            secondaries=("100::2",),
        ),
        doctor=Doctor(dns_port=dns.port),
    )
    found = await look(look_at_delegation, subject)
    assert [each for each in found if "100::1" in each.text and each.grade is not Grade.UNSEEN] == []
    assert {each.code for each in found if "100::2" in each.text} == {"server-silent"}


async def test_a_parent_that_names_others_is_told(tmp_path: Path, dns: FakeDns) -> None:
    dns.delegate(ZONE, "ns1.example.org.")
    dns.set("ns1.example.org", "A", "127.0.0.1")
    assert list(await told(look_at_delegation, delegated(tmp_path, dns, "ns9.example.org"))) == [
        "delegated-elsewhere"
    ]
    both = delegated(tmp_path, dns, "ns1.example.org", "ns2.example.org")
    assert list(await told(look_at_delegation, both)) == ["delegation-differs"]


# relay and clock


async def test_a_relay_that_takes_a_mail_is_quoted(tmp_path: Path) -> None:
    with FakeRelay() as relay:
        subject = make_subject(tmp_path, relay=relay.settings, send_to="alice@example.org")
        found = await look(look_at_relay, subject)
    assert [each.grade for each in found] == [Grade.GOOD, Grade.GOOD]
    assert "took a mail for alice@example.org: 250 " in found[1].text
    assert relay.mails[0].recipients == ("alice@example.org",)
    assert b"Subject: Mailward: a mail of the doctor's\r\n" in relay.mails[0].content


async def test_a_relay_that_refuses_or_is_away_is_a_problem(tmp_path: Path) -> None:
    with FakeRelay(answer="550 5.7.1 no relaying") as relay:
        subject = make_subject(tmp_path, relay=relay.settings, send_to="alice@example.org")
        assert "550 5.7.1 no relaying" in (await told(look_at_relay, subject))["mail-refused"]
    assert list(await told(look_at_relay, subject)) == ["relay-fails"]
    without_tls = Relay(host="127.0.0.1", port=relay.port, security="starttls")
    with FakeRelay(port=relay.port):
        (found,) = await look(look_at_relay, make_subject(tmp_path, relay=without_tls))
    assert (found.code, "security" in found.fix) == ("relay-fails", True)


async def test_without_a_relay_an_installation_for_trying_is_well(tmp_path: Path) -> None:
    assert await told(look_at_relay, make_subject(tmp_path)) == {}
    serious = make_subject(tmp_path, policy_host=PolicyHost(public_name=POLICIES))
    assert list(await told(look_at_relay, serious)) == ["no-relay"]


async def test_a_clock_that_hosts_elsewhere_contradict_is_a_problem(
    tmp_path: Path, dns: FakeDns, authority: Authority
) -> None:
    names = ("a.test", "b.test")
    for name in names:
        dns.set(f"mta-sts.{name}", "A", "127.0.0.1")
    host = TlsHost(authority.issue(*(f"mta-sts.{name}" for name in names)), http())
    async with host.running():
        subject = make_subject(
            tmp_path,
            dns=Dns(resolvers=(dns.address,), allow_private_addresses=True),
            watch=Watch(clock_domains=names, https_port=host.port, ca_file=str(authority.file)),
        )
        (found,) = await look(look_at_clock, subject)
        assert (found.grade, "2 hosts elsewhere agree" in found.text) == (Grade.GOOD, True)
        with clock.stepped(timedelta(minutes=-10)):
            assert "behind, by 2 of 2 hosts" in (await told(look_at_clock, subject))["clock-wrong"]
