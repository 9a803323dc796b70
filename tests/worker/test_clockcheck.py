"""A clock that is wrong, seen by the Date of policy hosts on loopback."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.policyhost import PolicyHost, http

from mailward.config import Dns, Settings, Watch
from mailward.net import clock
from mailward.store.models import ServiceState
from mailward.worker.clockcheck import check_clock

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_clock_that_hosts_contradict_is_remembered_until_it_is_right(tmp_path: Path) -> None:
    names = ("a.test", "b.test")
    dns, authority = FakeDns(), Authority(tmp_path)
    for name in names:
        dns.set(f"mta-sts.{name}", "A", "127.0.0.1")
    context = authority.issue(*(f"mta-sts.{name}" for name in names))
    with dns.threaded():
        await look(dns, PolicyHost(context, http()), authority, names)


async def look(dns: FakeDns, policy_host: PolicyHost, authority: Authority, names: tuple[str, ...]) -> None:
    async with policy_host.running() as host:
        settings = Settings(
            dns=Dns(resolvers=(dns.address,), allow_private_addresses=True),
            watch=Watch(
                clock_domains=(*names, "silent.test"), https_port=host.port, ca_file=str(authority.file)
            ),
        )
        with clock.stepped(timedelta(minutes=-10)):
            assert "seconds behind, by 2 of 2 hosts" in await check_clock(settings)
        assert (await state()).ok is False
        await check_clock(settings)
        assert (await state()).ok is True


async def state() -> ServiceState:
    return await ServiceState.objects.aget(name__startswith="clock ")
