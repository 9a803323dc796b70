"""Test reports, to real servers on loopback."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.core.check.made import DOMAIN, facts, reports
from tests.fakes.dns import FakeDns
from tests.fakes.relay import FakeRelay
from tests.fakes.reporthost import ReportHost
from tests.zoo.certs import Zoo

from mailward.core.check.codes import Code
from mailward.core.check.facts import ReportTarget
from mailward.core.check.run import run
from mailward.core.dkim import find_signatures, verify
from mailward.core.dkim.key import KeyAnswer, KeyStatus
from mailward.core.dkim.verify import Result
from mailward.core.tlsrpt.daily import Reporter
from mailward.core.tlsrpt.read import read_bytes
from mailward.core.tlsrpt.reading import check_strict
from mailward.net import clock
from mailward.net.guard import Guard
from mailward.net.resolver import Resolver
from mailward.probe.trial import Sending, Signing, Trial
from mailward.sender.dkimkeys import record_of

KEY = Ed25519PrivateKey.generate()
ME = Reporter("Mailward test report, no sessions", "tls-reports@tester.test")
LAX = Guard(allow_private=True)
SIGNED = Sending(ME, Signing("one", KEY))


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as relay:
        yield relay


@pytest.fixture
def dns() -> FakeDns:
    made = FakeDns()
    made.set("b.test", "A", "127.0.0.1")
    made.set("c.test", "MX", "10 b.test.")
    return made


def host(folder: Path, certificate: str = "good") -> tuple[ReportHost, Path]:
    zoo = Zoo(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (folder / "chain.pem").write_bytes(zoo.issue(certificate, "b.test").pem)
    context.load_cert_chain(folder / "chain.pem")
    return ReportHost(context), zoo.root_file


async def send(dns: FakeDns, uri: str, sending: Sending, guard: Guard = LAX) -> ReportTarget:
    async with dns:
        target = ReportTarget(uri, "b.test", takes_reports=True)
        seen = facts(targets=(target,), **reports(f"v=TLSRPTv1; rua={uri}"))
        [tried] = (await Trial(sending, Resolver([dns.address]), guard).send(seen)).targets
        return tried


async def test_a_web_server_gets_a_real_report_that_counts_nothing(dns: FakeDns, tmp_path: Path) -> None:
    web, root = host(tmp_path)
    async with web.running():
        tried = await send(dns, f"https://b.test:{web.port}/r", Sending(ME, ca_file=root))
    assert (tried.took_trial, tried.trial) == (True, "it answered 201")
    [posted] = web.posts
    assert posted.headers["Content-Type"] == "application/tlsrpt+gzip"
    reading = read_bytes(posted.body, now=clock.now())
    assert check_strict(reading) == ()
    [report] = reading.reports
    assert (report.organization_name, report.contact_info) == (ME.organization_name, ME.contact)
    assert (report.report_id or "").startswith("test.")
    [result] = report.policies
    assert result.policy.policy_domain == DOMAIN
    assert (
        result.summary.total_successful_session_count,
        result.summary.total_failure_session_count,
    ) == (0, 0)


async def test_a_certificate_that_is_not_trusted_is_told_and_passed_over(
    dns: FakeDns, tmp_path: Path
) -> None:
    web, root = host(tmp_path, "untrusted")
    async with web.running():
        tried = await send(dns, f"https://b.test:{web.port}/r", Sending(ME, ca_file=root))
    assert tried.took_trial is True
    assert "its certificate is not trusted" in tried.trial
    assert len(web.posts) == 1


@pytest.mark.parametrize(
    "answer, took",
    [("405 No", False), ("302 Found", False), ("500 Oh", False), ("503 Busy", None), ("429 Slow", None)],
)
async def test_what_a_web_server_answers_counts(
    dns: FakeDns, tmp_path: Path, answer: str, took: bool | None
) -> None:
    web, root = host(tmp_path)
    web.answer = f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode()
    async with web.running():
        tried = await send(dns, f"https://b.test:{web.port}/r", Sending(ME, ca_file=root))
    assert (tried.took_trial, tried.trial) == (took, f"it answered {answer[:3]}")


async def test_mail_goes_signed_straight_to_the_mx_host(dns: FakeDns, relay: FakeRelay) -> None:
    tried = await send(dns, "mailto:tls@c.test", Sending(ME, Signing("one", KEY), smtp_port=relay.port))
    assert (tried.took_trial, tried.trial) == (True, "b.test at 127.0.0.1: taken")
    [mail] = relay.mails
    assert (mail.sender, mail.recipients) == (ME.contact, ("tls@c.test",))
    assert check_strict(read_bytes(mail.content, now=clock.now())) == ()
    [signature] = find_signatures(mail.content)
    answer = KeyAnswer(KeyStatus.FOUND, (record_of(KEY).encode(),))
    assert verify(mail.content, {signature.key_name: answer}, clock.now()).result is Result.PASS
    assert b"It counts nothing." in mail.content
    assert b"TLS-Required: No" in mail.content


async def test_an_mx_host_with_any_certificate_gets_it_encrypted(dns: FakeDns, tmp_path: Path) -> None:
    web, _ = host(tmp_path, "self-signed")
    with FakeRelay(tls=web.context) as relay:  # takes nothing without STARTTLS
        sending = Sending(ME, Signing("one", KEY), smtp_port=relay.port)
        tried = await send(dns, "mailto:tls@c.test", sending)
    assert tried.took_trial is True


async def test_a_domain_without_mx_records_is_its_own_host(dns: FakeDns, relay: FakeRelay) -> None:
    tried = await send(dns, "mailto:tls@b.test", Sending(ME, Signing("one", KEY), smtp_port=relay.port))
    assert tried.took_trial is True


async def test_a_mailbox_that_is_not_there_is_a_finding(dns: FakeDns, relay: FakeRelay) -> None:
    relay.refuse_recipient = "tls@c.test"
    tried = await send(dns, "mailto:tls@c.test", Sending(ME, Signing("one", KEY), smtp_port=relay.port))
    assert tried.took_trial is False
    report = run(facts(targets=(tried,)))
    assert [each.code for each in report.findings] == [Code.TLSRPT_TARGET_REFUSES]
    assert "550 5.1.1 no such person" in report.findings[0].evidence[1]


async def test_a_server_that_says_later_is_not_accused(dns: FakeDns, relay: FakeRelay) -> None:
    relay.answer = "451 4.7.1 come later"
    tried = await send(dns, "mailto:tls@c.test", Sending(ME, Signing("one", KEY), smtp_port=relay.port))
    assert (tried.took_trial, tried.trial) == (None, "b.test at 127.0.0.1: it answered 451 4.7.1 come later")
    assert run(facts(targets=(tried,))).findings == ()


async def test_a_relay_hands_it_on_and_its_refusal_says_nothing_of_the_rua(
    dns: FakeDns, relay: FakeRelay
) -> None:
    sending = Sending(ME, Signing("one", KEY), relay.settings)
    assert (await send(dns, "mailto:tls@c.test", sending)).trial == "the relay: taken"
    relay.refuse_recipient = "tls@c.test"
    assert (await send(dns, "mailto:tls@c.test", sending)).took_trial is None


async def test_unsigned_mail_is_not_sent(dns: FakeDns, relay: FakeRelay) -> None:
    tried = await send(dns, "mailto:tls@c.test", Sending(ME, smtp_port=relay.port))
    assert (tried.took_trial, tried.trial) == (
        None,
        "not sent: report mail must be signed, and no key was given",
    )
    assert relay.mails == []


@pytest.mark.parametrize("uri", ["mailto:tls@c.test", "https://b.test/r"])
async def test_no_private_address_is_spoken_to(dns: FakeDns, uri: str) -> None:
    tried = await send(dns, uri, SIGNED, Guard())
    assert tried.took_trial is None
    assert "connected to" in tried.trial


async def test_a_place_that_is_known_to_be_dead_gets_nothing(dns: FakeDns, relay: FakeRelay) -> None:
    async with dns:
        dead = ReportTarget("mailto:tls@c.test", "c.test", takes_reports=False)
        seen = facts(targets=(dead,), **reports("v=TLSRPTv1; rua=mailto:tls@c.test"))
        sending = Sending(ME, Signing("one", KEY), relay.settings)
        tried = await Trial(sending, Resolver([dns.address]), Guard(allow_private=True)).send(seen)
    assert tried.targets == (dead,)
    assert relay.mails == []
