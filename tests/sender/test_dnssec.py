import asyncio
import logging

import pytest
from tests.fakes.dns import Fault
from tests.sender.lab import Lab

from mailward.net import clock, dnssec
from mailward.net.dnssec import KnownValidation, Trust, check_validation
from mailward.net.resolver import Resolver
from mailward.sender import daemon as daemon_module


async def check(lab: Lab) -> tuple[Trust, str]:
    resolver = Resolver([lab.dns.address], timeout_seconds=1)
    validation = await check_validation(resolver, "secure.test", "bogus.test")
    return validation.trust, validation.reason


async def test_a_resolver_that_validates_is_trusted(lab: Lab) -> None:
    lab.dns.authenticated = True
    lab.dns.fail(Fault.SERVFAIL, "bogus.test")
    assert await check(lab) == (Trust.VALIDATES, "the resolver validates")


async def test_one_that_proves_nothing_is_not(lab: Lab) -> None:
    lab.dns.fail(Fault.SERVFAIL, "bogus.test")
    trust, reason = await check(lab)
    assert trust is Trust.DOES_NOT
    assert "does not call secure.test secure" in reason


async def test_one_that_answers_for_a_bogus_name_is_not(lab: Lab) -> None:
    lab.dns.authenticated = True
    lab.dns.set("bogus.test", "A", "192.0.2.1")
    trust, reason = await check(lab)
    assert trust is Trust.DOES_NOT
    assert "bogus.test" in reason


async def test_one_that_cannot_be_asked_is_not(lab: Lab) -> None:
    lab.dns.fail(Fault.SILENCE)
    trust, reason = await check(lab)
    assert trust is Trust.NOT_KNOWN
    assert "secure.test cannot be looked up" in reason


async def test_silence_about_the_bogus_name_proves_nothing(lab: Lab) -> None:
    lab.dns.authenticated = True
    lab.dns.fail(Fault.SILENCE, "bogus.test")
    assert (await check(lab))[0] is Trust.NOT_KNOWN


async def test_a_bogus_name_that_is_gone_proves_nothing(lab: Lab) -> None:
    lab.dns.authenticated = True
    assert await check(lab) == (
        Trust.NOT_KNOWN,
        "the bogus name bogus.test does not exist: name another one (dnssec_bogus_name)",
    )


async def test_a_reason_is_said_once_and_again_when_it_changes(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = lab.daemon(dane=True, dnssec_secure_name="secure.test", dnssec_bogus_name="bogus.test")
    for _ in range(3):
        await daemon.look_at_validation()
    lab.dns.fail(Fault.SERVFAIL)
    for _ in range(3):
        await daemon.look_at_validation()
    await daemon.knowledge.close()
    assert [record.message for record in caplog.records] == ["dane-off", "dane-off"]


async def test_one_that_is_not_on_loopback_is_not_even_asked() -> None:
    validation = await check_validation(Resolver(["192.0.2.1", "127.0.0.1"]), "secure.test", "bogus.test")
    assert validation.trust is Trust.DOES_NOT
    assert "loopback" in validation.reason


async def test_dane_goes_on_and_off_as_the_resolver_deserves(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = lab.daemon(dane=True, dnssec_secure_name="secure.test", dnssec_bogus_name="bogus.test")
    with caplog.at_level(logging.INFO):
        assert not await daemon.look_at_validation()
        lab.dns.authenticated = True
        lab.dns.fail(Fault.SERVFAIL, "bogus.test")
        assert await daemon.look_at_validation()
        lab.dns.fail(Fault.SERVFAIL)
        assert await daemon.look_at_validation()  # whoever can make two lookups fail must not turn DANE off
    assert daemon.knowledge.dane.is_on
    assert [record.message for record in caplog.records] == ["dane-off", "dane-on", "dane-not-checked"]
    await daemon.knowledge.close()


async def test_a_resolver_that_starts_after_us_is_soon_looked_at_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "FIRST_RETRY_SECONDS", 0.01)
    lab.dns.authenticated = True
    lab.dns.fail(Fault.SERVFAIL)
    daemon = lab.daemon(dane=True, dnssec_secure_name="secure.test", dnssec_bogus_name="bogus.test")
    turned_on = asyncio.Event()
    monkeypatch.setattr(daemon.knowledge.dane, "forget", turned_on.set)  # at each change
    watching = asyncio.create_task(daemon.watch_validation())
    await asyncio.wait_for(daemon.knowledge.dane.validation_seen.wait(), 5)
    assert not daemon.knowledge.dane.is_on
    lab.dns.heal()
    lab.dns.fail(Fault.SERVFAIL, "bogus.test")
    async with asyncio.timeout(5):
        await turned_on.wait()
    watching.cancel()
    await daemon.knowledge.close()


async def test_what_is_known_is_kept_for_a_while_and_of_one_resolver(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, seconds = KnownValidation(), 0.0
    monkeypatch.setattr(clock, "monotonic", lambda: seconds)
    resolver = Resolver([lab.dns.address], timeout_seconds=1)
    lab.dns.authenticated = True
    lab.dns.fail(Fault.SERVFAIL, "bogus.test")
    assert (await known.look(resolver, "secure.test", "bogus.test")).trust is Trust.VALIDATES
    lab.dns.authenticated = False
    assert (await known.look(resolver, "secure.test", "bogus.test")).trust is Trust.VALIDATES
    assert (await known.look(Resolver(["192.0.2.1"]), "secure.test", "bogus.test")).trust is Trust.DOES_NOT
    assert (await known.look(resolver, "secure.test", "bogus.test")).trust is Trust.DOES_NOT
    lab.dns.authenticated = True
    seconds = dnssec.MISSING_KEPT_SECONDS
    assert (await known.look(resolver, "secure.test", "bogus.test")).trust is Trust.VALIDATES
