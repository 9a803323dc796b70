"""The nameserver's zone in step with the database: by what changed alone, and after a restored backup."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from mailward.config import Nameserver as NameserverSettings
from mailward.config import PolicyHost, Settings
from mailward.core.acme.challenge import own_label
from mailward.core.dns.wire import Type, decode_name, encode_name
from mailward.core.dns.zone import Zone
from mailward.hosting import following
from mailward.hosting.delegated import CustomerZones, ZoneMaker
from mailward.hosting.nameserver import ZoneKeeper, make_nameserver
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.models import (
    AcmeAccount,
    AcmeOrder,
    Domain,
    HostingChange,
    HostingGeneration,
    Organisation,
)
from mailward.store.queries.hosting import Delegation, changed_domains, delegations, hosting_state
from mailward.store.services import hosting
from mailward.store.services.certificates import challenged
from mailward.store.services.hosting import bump_generation, forget_old_changes, raise_serial

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def organisation() -> Organisation:
    return Organisation.objects.create(name="One", report_token="0rganisation")


def add_domain(organisation: Organisation, number: int) -> Domain:
    domain = Domain.objects.create(
        organisation=organisation,
        name=f"example{number}.test",
        report_token=f"rep0rt{number}",
        claim_token="c",
        delegation_token=f"t0ken{number}",
    )
    bump_generation(domain.pk)
    return domain


@pytest.fixture
async def keeper(tmp_path: Path, organisation: Organisation) -> AsyncIterator[ZoneKeeper]:
    settings = Settings(data=str(tmp_path), nameserver=NameserverSettings(zone="sts.test"))
    server, secondaries = make_nameserver(settings)
    keeper = ZoneKeeper(tmp_path / "zone.json", settings, server, secondaries)
    yield keeper
    keeper.close()


def zone_of(keeper: ZoneKeeper) -> Zone:
    return keeper._zone


def has(keeper: ZoneKeeper, number: int) -> bool:
    return Type.TXT in zone_of(keeper).nodes.get(encode_name(f"_tlsrpt.t0ken{number}.sts.test"), {})


async def test_a_change_of_one_domain_reads_that_one(keeper: ZoneKeeper, organisation: Organisation) -> None:
    for number in range(3):
        await in_store(add_domain, organisation, number)
    await keeper.refresh()
    before = await in_store(hosting_state)
    domain = await in_store(add_domain, organisation, 3)
    assert await in_store(changed_domains, before) == frozenset({domain.pk})
    await keeper.refresh()
    assert [has(keeper, number) for number in range(4)] == [True] * 4
    assert zone_of(keeper).serial == keeper.current.generation


def test_what_changed_costs_as_many_questions_however_many_domains_there_are(
    organisation: Organisation,
) -> None:
    for number in range(50):
        domain = add_domain(organisation, number)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        found = delegations([domain.pk], must_prove=False)
    assert list(found) == [domain.pk]
    # one for the domain, one for the challenges that CAs wait for
    assert len(asked) == 2


def test_a_change_without_names_and_one_that_is_forgotten_are_anything(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_domain(organisation, 1)
    before = hosting_state()
    add_domain(organisation, 2)
    assert changed_domains(before) is not None
    bump_generation()
    assert changed_domains(before) is None
    before = hosting_state()
    monkeypatch.setattr(hosting, "KEEP_GENERATIONS", 2)
    for number in range(3, 8):
        add_domain(organisation, number)
    forget_old_changes()
    assert changed_domains(before) is None
    assert HostingChange.objects.count() == 3


def test_a_policy_that_is_not_announced_yet_leaves_the_serial(organisation: Organisation) -> None:
    domain = add_domain(organisation, 1)
    before = hosting_state()
    bump_generation(domain.pk, zone=False)
    after = hosting_state()
    assert after.serial_generation == before.serial_generation
    assert after.generation == before.generation + 1


async def test_after_a_restored_backup_the_serial_goes_on(
    keeper: ZoneKeeper, organisation: Organisation
) -> None:
    await in_store(add_domain, organisation, 1)
    backup = await in_store(HostingGeneration.objects.values("value", "mark", "zone_value").get)
    for number in (2, 3):
        await in_store(add_domain, organisation, number)
    await keeper.refresh()
    serial = zone_of(keeper).serial

    def restore() -> None:
        Domain.objects.exclude(name="example1.test").delete()
        HostingChange.objects.filter(generation__gt=backup["value"]).delete()
        HostingGeneration.objects.update(**backup)
        # as many changes as before, and others: the same count says nothing
        for number in (4, 5):
            add_domain(organisation, number)

    await in_store(restore)
    keeper._loaded_at = float("-inf")  # as after FULL_RELOAD_SECONDS
    await keeper.refresh()
    await keeper.refresh()
    assert [has(keeper, number) for number in range(1, 6)] == [True, False, False, True, True]
    assert zone_of(keeper).serial == serial + 1 == (await in_store(hosting_state)).generation


@pytest.mark.parametrize(("past", "serial"), [(7, 8), (2**32 - 1, 0), (2, 3)])
def test_a_serial_that_secondaries_have_seen_is_passed(db: None, past: int, serial: int) -> None:
    for _ in range(5):
        bump_generation()
    raise_serial(past)
    state = hosting_state()
    assert state.generation > 5
    assert state.serial_generation % 2**32 == serial
    assert changed_domains(state) == frozenset()


async def test_what_was_saved_late_is_caught_up(
    keeper: ZoneKeeper, organisation: Organisation, tmp_path: Path
) -> None:
    await in_store(add_domain, organisation, 1)
    await keeper.refresh()
    await in_store(add_domain, organisation, 2)
    settings = Settings(data=str(tmp_path), nameserver=NameserverSettings(zone="sts.test"))
    again = ZoneKeeper(tmp_path / "zone.json", settings, *make_nameserver(settings))
    assert [has(again, number) for number in (1, 2)] == [True, False]
    await again.refresh()
    assert has(again, 2)
    again.close()


@pytest.mark.parametrize("newer_first", [True, False])
def test_a_domain_that_changed_hands_is_its_new_holder_s_zone(newer_first: bool) -> None:
    settings = Settings(
        nameserver=NameserverSettings(zone="sts.test", policy_addresses=("192.0.2.1",)),
    )
    zones = CustomerZones(ZoneMaker(settings), encode_name("sts.test"), offered=True)
    apex = encode_name("mta-sts.example.test")
    old, new = (Delegation(token, token, None, None, "example.test") for token in ("old", "new"))
    zones.change([(None, old)])
    assert zones(apex) is not None
    changes = [(old, old._replace(proved_name=None)), (new._replace(proved_name=None), new)]
    zones.change(reversed(changes) if newer_first else changes)
    assert zones(apex) is not None
    zones.change([(new, new._replace(proved_name=None))])
    assert zones(apex) is None


def order_for(host: str) -> AcmeOrder:
    account, _ = AcmeAccount.objects.get_or_create(directory="https://ca.test/", defaults={"key": b""})
    order = AcmeOrder.objects.create(
        account=account, host=host, method="dns-01", key=b"", placed_at=clock.now(), url="https://ca.test/1"
    )
    challenged(order, "token", "token.thumbprint")
    return order


async def test_a_challenge_of_our_own_names_is_shown_below_its_label_and_in_our_zone(
    tmp_path: Path, organisation: Organisation
) -> None:
    own = NameserverSettings(zone="sts.test", policy_addresses=("192.0.2.1",))
    host = PolicyHost(public_name="policies.sts.test")
    settings = Settings(data=str(tmp_path), nameserver=own, policy_host=host)
    keeper = ZoneKeeper(tmp_path / "zone.json", settings, *make_nameserver(settings))

    def texts() -> set[str]:
        nodes = zone_of(keeper).nodes.items()
        return {decode_name(name).rstrip(".") for name, sets in nodes if Type.TXT in sets}

    await in_store(bump_generation)
    await keeper.refresh()
    assert Type.A in zone_of(keeper).nodes[encode_name("policies.sts.test")]
    before = await in_store(hosting_state)
    for name in ("policies.sts.test", "reports.test"):
        await in_store(order_for, name)
    assert await in_store(changed_domains, before) == frozenset({0}), "no domain is read for it"
    await keeper.refresh()
    labels = {f"_acme-challenge.{own_label(name)}.sts.test" for name in ("policies.sts.test", "reports.test")}
    assert texts() == labels | {"_acme-challenge.policies.sts.test"}
    serial = zone_of(keeper).serial
    keeper.close()
    # one that starts meanwhile shows it too
    keeper = ZoneKeeper(tmp_path / "zone.json", settings, *make_nameserver(settings))
    await keeper.refresh()
    assert (texts(), zone_of(keeper).serial) == (labels | {"_acme-challenge.policies.sts.test"}, serial)
    await in_store(AcmeOrder.objects.update, ended_at=clock.now())
    await in_store(bump_generation, hosting.OWN_NAMES)
    await keeper.refresh()
    assert texts() == set()
    keeper.close()


async def test_what_cannot_be_saved_is_served_all_the_same_and_saved_later(
    keeper: ZoneKeeper, organisation: Organisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "FULL_RELOAD_SECONDS", 0.0)
    await in_store(tmp_path.rmdir)
    await in_store(add_domain, organisation, 0)
    for _ in range(2):
        await keeper.refresh()
        assert has(keeper, 0)
    await in_store(tmp_path.mkdir)
    await keeper.refresh()
    assert keeper.load_saved(tmp_path / "zone.json") == keeper.current
