"""A log as Postfix writes it, policies, DNS and MX hosts, all real: what is counted beside the datagrams."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from tests.fakes.dns import Fault
from tests.sender.lab import Lab

from mailward.config import Settings, Tlsrpt
from mailward.core.mtasts.decide import Cached
from mailward.core.mtasts.policy import parse_policy
from mailward.core.names import Domain
from mailward.core.tlsrpt import joining
from mailward.core.tlsrpt.blindspots import no_policy_label, sts_label
from mailward.core.tlsrpt.counting import Origin, Tally, day_of
from mailward.core.tlsrpt.joining import Signal
from mailward.net import clock
from mailward.net.resolver import Resolver
from mailward.sender import blindspots
from mailward.sender.blindspots import BlindSpots, own_senders
from mailward.sender.cache import Entry
from mailward.sender.signalnumbers import Number, SignalNumbers
from mailward.sender.sqlite import SqliteCache
from mailward.sender.verifying import Verifier

RECORD = "v=TLSRPTv1; rua=mailto:tls@a.test"
DOMAIN = Domain("a.test")
TESTING = b"version: STSv1\nmode: testing\nmx: mx.a.test\nmax_age: 86400\n"
TLS = "Trusted TLS connection established to {mx}[{ip}]:25: TLSv1.3 with cipher X (256/256 bits)"
TLSRPT = "TLSRPT: status=success, domain={domain}, receiving_mx={mx}[{ip}]"
SENT = "{id}: to=<bob@{domain}>, relay={mx}[{ip}]:25, delay=0.1, delays=0/0/0/0.1, dsn=2.0.0, status=sent (250 Ok)"
REFUSED = "warning: MX name '{mx}' does not match STS MX pattern for '{domain}'"


class Site:
    """A sending host: what its Postfix logs, and who follows it."""

    def __init__(self, lab: Lab, settings: Settings, verifier: Verifier | None = None) -> None:
        self.lab, self.settings, self.verifier = lab, settings, verifier
        self.log = Path(settings.tlsrpt.log)
        self.cache = SqliteCache(settings.sender_cache_path, 1000)
        self.count = 0
        self.numbers = SignalNumbers()
        self.start(None)

    def start(self, place: str | None) -> None:
        resolver = Resolver([self.lab.dns.address], timeout_seconds=1.0)
        self.spots = BlindSpots(self.settings, self.cache, resolver, place, self.verifier, self.numbers)

    async def learn(self, body: bytes, domain: str = DOMAIN) -> None:
        now = int(clock.now().timestamp())
        await self.cache.put(Entry(Domain(domain), Cached(parse_policy(body), "1", now)))

    async def ready(self) -> None:
        """The log is open, and shows that TLS connections are logged."""
        self.write(TLS, at=-900)
        await self.spots.step()

    def write(
        self, text: str, at: float = 0.0, domain: str = DOMAIN, mx: str = "mx.a.test", ip: str = "127.0.0.1"
    ) -> None:
        self.count += 1
        when = (clock.now() + timedelta(seconds=at)).isoformat()
        filled = text.format(domain=domain, mx=mx, ip=ip, id=f"C3AF6{self.count:06}")
        with self.log.open("a") as stream:
            stream.write(f"{when} m postfix/smtp[7]: {filled}\n")

    def deliver(self, mx: str = "mx.a.test") -> None:
        """A success with TLS."""
        tally = Tally(
            clock.today(),
            DOMAIN,
            RECORD,
            sts_label(DOMAIN, parse_policy(TESTING)),
            Origin.DATAGRAM,
            1,
            0,
        )
        self.spots.add([Signal(7, clock.now().timestamp(), tally)])
        for text in (TLS, TLSRPT, SENT):
            self.write(text, mx=mx)

    async def counted(self) -> list[tuple[str, str, int, int, str | None, str | None]]:
        for _ in range(3):
            await self.spots.step()
            await asyncio.gather(*self.spots._tasks)
        tallies, _ = self.spots.take()
        return [
            (
                tally.domain,
                tally.origin.value,
                tally.successes,
                tally.failures,
                detail.result_type,
                detail.failure_reason_code,
            )
            for tally in tallies
            for detail, _ in tally.details
        ]


@pytest.fixture
def settings(lab: Lab, tmp_path: Path) -> Settings:
    (tmp_path / "mail.log").touch()
    found = lab.settings()
    return msgspec.structs.replace(
        found,
        sender=msgspec.structs.replace(found.sender, default_level="may"),
        tlsrpt=Tlsrpt(log=str(tmp_path / "mail.log"), contact="tls@site.test", ehlo_name="probe.test"),
    )


@pytest.fixture
async def site(lab: Lab, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(joining, "SETTLE_SECONDS", 0.0)
    lab.dns.set(f"_smtp._tls.{DOMAIN}", "TXT", RECORD)
    lab.dns.set(DOMAIN, "MX", "10 mx2.a.test.")
    made = Site(lab, settings)
    await made.ready()
    yield made
    await made.spots.close()
    await made.cache.close()


CLEAR = ("a.test", "log", 0, 1, "starttls-not-supported", None)


async def test_mail_in_the_clear_under_a_testing_policy(site: Site) -> None:
    await site.learn(TESTING)
    site.write(SENT)
    assert await site.counted() == [CLEAR]


async def test_the_policy_and_the_day_are_those_that_datagrams_are_counted_under(site: Site) -> None:
    await site.learn(TESTING)
    site.write(SENT)
    await site.spots.step()
    [tally], _ = site.spots.take()
    at = clock.now().timestamp()
    assert (tally.day_utc, tally.record) == (day_of(at), RECORD)
    assert tally.policy == sts_label(DOMAIN, parse_policy(TESTING))


async def test_a_host_of_the_domain_that_the_policy_does_not_name(site: Site) -> None:
    await site.learn(TESTING)
    site.deliver(mx="mx2.a.test")
    site.write(SENT, mx="mx2.a.test", ip="192.0.2.7")
    turned = ("a.test", "log", -1, 1, "validation-failure", "mtasts-policy-mx-mismatch")
    fresh = ("a.test", "log", 0, 1, "validation-failure", "mtasts-policy-mx-mismatch")
    assert await site.counted() == [turned, fresh]


async def test_a_host_that_an_enforcing_policy_does_not_name(site: Site) -> None:
    await site.learn(TESTING.replace(b"testing", b"enforce"))
    site.write(REFUSED, mx="mx2.a.test")
    assert await site.counted() == [
        ("a.test", "log", 0, 1, "validation-failure", "mtasts-policy-mx-mismatch")
    ]


async def test_a_smart_host_of_the_operators_is_no_failure_of_the_domain(site: Site) -> None:
    await site.learn(TESTING)
    site.write(SENT, mx="smarthost.site.test")
    assert await site.counted() == []
    assert site.spots.counted["other-route"] == 1


async def test_domains_that_want_no_report(site: Site) -> None:
    await site.learn(TESTING, "silent.test")
    for domain in ("silent.test", "unknown.test"):
        site.write(SENT, domain=domain)
    assert await site.counted() == []


@pytest.mark.parametrize("policy", [b"", TESTING.replace(b"testing", b"none")], ids=["none", "mode none"])
async def test_mail_in_the_clear_where_no_policy_is_known(site: Site, policy: bytes) -> None:
    if policy:
        await site.learn(policy)
    site.write(SENT, mx="mx2.a.test")
    site.write(SENT, mx="smarthost.site.test")
    site.write(REFUSED, mx="mx2.a.test")
    assert await site.counted() == [CLEAR]
    site.write(SENT, mx="mx2.a.test", at=1.0)
    await site.spots.step()
    [tally], _ = site.spots.take()
    assert tally.policy == no_policy_label(DOMAIN)


@pytest.mark.parametrize("level", ["", "none", "encrypt"])
async def test_where_tls_is_not_what_postfix_tries_the_clear_is_no_failure(
    lab: Lab, settings: Settings, site: Site, level: str
) -> None:
    await site.spots.close()
    sender = msgspec.structs.replace(settings.sender, default_level=level)
    site.settings = msgspec.structs.replace(settings, sender=sender)
    site.start(None)
    await site.ready()
    site.write(SENT, mx="mx2.a.test")
    assert await site.counted() == []


async def test_a_policy_that_has_ended_is_none(site: Site) -> None:
    with clock.stepped(timedelta(days=-3)):
        await site.learn(TESTING)
    site.write(SENT, mx="mx2.a.test")
    assert await site.counted() == [CLEAR]
    assert site.spots.counted["clear"] == 1


async def test_a_domain_that_the_operator_has_a_word_about(
    site: Site, lab: Lab, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "overrides.toml"
    until = clock.today() + timedelta(days=1)
    file.write_text(f'[[override]]\ndomain = "a.test"\naction = "ignore"\nreason = "x"\nuntil = {until}\n')
    sender = msgspec.structs.replace(settings.sender, overrides=str(file))
    other = Site(lab, msgspec.structs.replace(settings, sender=sender))
    await other.learn(TESTING)
    await other.ready()
    other.write(SENT)
    assert await other.counted() == []
    await other.spots.close()
    await other.cache.close()


async def test_a_record_that_cannot_be_looked_up_is_looked_up_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blindspots, "FAILED_SECONDS", 0.0)
    await site.learn(TESTING)
    site.lab.dns.fail(Fault.SERVFAIL)
    site.write(SENT)
    await site.spots.step()
    assert site.spots.take()[0] == []
    site.lab.dns.heal()
    assert await site.counted() == [CLEAR]


async def test_a_restart_counts_nothing_twice_and_loses_nothing(site: Site) -> None:
    await site.learn(TESTING)
    site.write(SENT)
    site.write(TLS, at=0.0, ip="192.0.2.8", mx="mx2.a.test")
    assert await site.counted() == [CLEAR]
    _, place = site.spots.take()
    await site.spots.close()
    site.write(SENT, ip="192.0.2.8", mx="mx2.a.test")  # its TLS was logged before
    site.write(SENT)
    site.start(place)
    assert await site.counted() == [CLEAR]


async def test_signals_that_postfix_could_not_send_are_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        site.write("warning: Could not report TLS handshake result to tlsrpt library: Resource (errno 11)")
    assert await site.counted() == []
    assert site.numbers.get(Number.NOT_SENT) == 3
    assert [record.message for record in caplog.records].count("signals-not-sent") == 1


async def test_reports_of_our_own_are_not_reported_on(site: Site) -> None:
    await site.learn(TESTING)
    when = clock.now().isoformat()
    with site.log.open("a") as stream:
        stream.write(
            f"{when} m postfix/qmgr[9]: C3AF6000002: from=<TLS@site.test>, size=9, nrcpt=1 (queue active)\n"
        )
    site.write(SENT)
    assert await site.counted() == []


def test_which_senders_are_ours() -> None:
    is_ours = own_senders(Settings(tlsrpt=Tlsrpt(contact="a@b.test", envelope_sender="tls+*@b.test")))
    assert [is_ours(text) for text in ("tls+x1@b.test", "TLS+y@B.test", "tls+@b.test", "a@b.test", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert not own_senders(Settings())("")


class Mx:
    """An MX host, which counts its visitors."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.visits = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.write(b"220 x\r\n")
        try:
            while line := await reader.readline():
                if line.startswith(b"EHLO"):
                    writer.write(b"250-x\r\n250 STARTTLS\r\n")
                elif line.startswith(b"STARTTLS"):
                    writer.write(b"220 x\r\n")
                    await writer.start_tls(self.context)
        except (ssl.SSLError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def verifying(site: Site, context: ssl.SSLContext) -> AsyncIterator[Mx]:
    mx = Mx(context)
    server = await asyncio.start_server(mx.serve, "127.0.0.1", 0)
    async with server:
        await site.spots.close()
        site.verifier = Verifier(site.settings, port=server.sockets[0].getsockname()[1])
        site.start(None)
        await site.ready()
        yield mx


async def test_a_certificate_for_another_name_turns_the_successes_with_its_host(site: Site, lab: Lab) -> None:
    async with verifying(site, lab.authority.issue("other.test")) as mx:
        for _ in range(3):
            site.deliver()
        turned = ("a.test", "probe", -1, 1, "certificate-host-mismatch", "Hostname_mismatch")
        assert await site.counted() == [turned] * 3
        site.deliver()
        assert await site.counted() == [turned]
        assert mx.visits == 1


async def test_a_good_certificate_changes_nothing(site: Site, lab: Lab) -> None:
    async with verifying(site, lab.authority.issue("mx.a.test")) as mx:
        site.deliver()
        assert await site.counted() == []
        assert mx.visits == 1


async def test_nobody_is_visited_whom_no_mail_under_a_testing_policy_went_to(site: Site, lab: Lab) -> None:
    async with verifying(site, lab.authority.issue("other.test")) as mx:
        site.write(SENT)
        site.write(TLS)
        site.write(TLSRPT)  # of a datagram that was lost
        assert await site.counted() == []
        assert mx.visits == 0
