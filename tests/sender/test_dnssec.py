import logging

import pytest
from tests.fakes.dns import Fault
from tests.sender.lab import Lab

from mailward.net.resolver import Resolver
from mailward.sender.dnssec import check_validation


async def check(lab: Lab) -> tuple[bool, str]:
    resolver = Resolver([lab.dns.address], timeout_seconds=1)
    validation = await check_validation(resolver, "secure.test", "bogus.test")
    return validation.is_trusted, validation.reason


async def test_a_resolver_that_validates_is_trusted(lab: Lab) -> None:
    lab.dns.authenticated = True
    lab.dns.fail(Fault.SERVFAIL, "bogus.test")
    assert await check(lab) == (True, "the resolver validates")


async def test_one_that_proves_nothing_is_not(lab: Lab) -> None:
    lab.dns.fail(Fault.SERVFAIL, "bogus.test")
    trusted, reason = await check(lab)
    assert not trusted
    assert "does not call secure.test secure" in reason


async def test_one_that_answers_for_a_bogus_name_is_not(lab: Lab) -> None:
    lab.dns.authenticated = True
    trusted, reason = await check(lab)
    assert not trusted
    assert "bogus.test" in reason


async def test_one_that_cannot_be_asked_is_not(lab: Lab) -> None:
    lab.dns.fail(Fault.SILENCE)
    trusted, reason = await check(lab)
    assert not trusted
    assert "secure.test cannot be looked up" in reason


async def test_silence_about_the_bogus_name_proves_nothing(lab: Lab) -> None:
    lab.dns.authenticated = True
    lab.dns.fail(Fault.SILENCE, "bogus.test")
    assert not (await check(lab))[0]


async def test_one_that_is_not_on_loopback_is_not_even_asked() -> None:
    validation = await check_validation(Resolver(["192.0.2.1", "127.0.0.1"]), "secure.test", "bogus.test")
    assert not validation.is_trusted
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
    assert daemon.knowledge.looks_for_dane
    assert [record.message for record in caplog.records] == ["dane-off", "dane-on"]
    await daemon.knowledge.close()
