"""A domain's records at its own DNS server: the worker, the store and a real Knot together."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace as changed
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from tests.hosting.daemons import Tree, ask_until, free_port, make_tree
from tests.hosting.test_dnsupdate import KEY, KNOT, SECRET, ZONE

from mailward.config import Dns, PolicyHost, Settings
from mailward.core.mtasts.policy import Mode, Policy
from mailward.net.dnsupdate import Place, Wanted, look, replace
from mailward.net.guard import Guard
from mailward.net.sealing import Keyring, load_keyring
from mailward.store.aio import in_store
from mailward.store.models import DnsWritten, DnsZone, Domain, Organisation, OutboxItem, Role
from mailward.store.scope import Scope
from mailward.store.services.dnsupdates import ZoneData, note_attempt, remove_zone, save_zone, zone_purpose
from mailward.store.services.policies import announce_version, publish_policy
from mailward.store.services.resealing import reseal
from mailward.worker.updating import try_zone, update_domain

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="programs of a Debian tree run as root only"),
    pytest.mark.django_db(transaction=True),
]
LAB = Guard(allow_private=True)
STS = "_mta-sts.customer.example"


@pytest.fixture
def tree() -> Iterator[Tree]:
    with make_tree() as tree:
        yield tree


@pytest.fixture
async def place(tree: Tree) -> AsyncIterator[Place]:
    port = free_port()
    tree.write("knot/customer.zone", ZONE)
    tree.write("server.conf", KNOT.format(port=port))
    async with tree.run("knotd", "-c", "/own/server.conf"):
        await ask_until(port, "mta-sts.customer.example", "192.0.2.1", "A")
        yield Place("127.0.0.1", port, "customer.example", KEY)


@pytest.fixture
def domain() -> Domain:
    organisation = Organisation.objects.create(name="One", report_token="0rganisation")
    return Domain.objects.create(
        organisation=organisation, name="customer.example", report_token="rep0rt", claim_token="c"
    )


@pytest.fixture
def settings_here(tmp_path: Path) -> Settings:
    return Settings(
        data=str(tmp_path),
        policy_host=PolicyHost(public_name="policies.provider.example"),
        dns=Dns(allow_private_addresses=True),
    )


def scope_of(domain: Domain) -> Scope:
    return Scope(domain.organisation_id, 0, Role.OWNER)


def keep(settings: Settings, domain: Domain, place: Place, *, is_forced: bool = False) -> int:
    purpose = zone_purpose(domain.organisation_id, "customer.example")
    sealed = load_keyring(settings).seal(KEY.secret, purpose)
    server = f"{place.address}:{place.port}"
    data = ZoneData("customer.example", server, "mailward", "hmac-sha256", sealed, is_forced)
    return save_zone(scope_of(domain), data).pk


def publish(domain: Domain, max_age: int) -> str:
    """Committed, and seen to be served by every policy host."""
    policy = Policy(Mode.TESTING, max_age, ("mx.customer.example",))
    version = publish_policy(domain.organisation_id, domain.pk, policy, author_id=None)
    assert not OutboxItem.objects.filter(kind="dns-update").exists()
    assert announce_version(domain.pk, version.pk)
    assert OutboxItem.objects.filter(kind="dns-update", key=str(domain.pk)).exists()
    return version.policy_id


def errors(domain: Domain) -> dict[str, str]:
    return dict(DnsWritten.objects.filter(domain=domain).values_list("record", "error"))


async def test_the_records_follow_the_policy_and_those_of_others_stay(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    zone_id = await in_store(keep, settings_here, domain, place)
    assert await update_domain(settings_here, domain.pk) == ""
    # no policy yet, so no id; what others wrote is left alone, and told of
    assert await look(place, STS, "TXT", LAB) == ()
    told = await in_store(errors, domain)
    assert "somebody@elsewhere.example, which Mailward did not write" in told["_smtp._tls"]
    assert "has other records" in told["mta-sts"]
    for max_age in (86_400, 604_800):
        await in_store(OutboxItem.objects.all().delete)
        policy_id = await in_store(publish, domain, max_age)
        assert await update_domain(settings_here, domain.pk) == ""
        assert await look(place, STS, "TXT", LAB) == (f"v=STSv1; id={policy_id};",)
    await in_store(keep, settings_here, domain, place, is_forced=True)
    assert await update_domain(settings_here, domain.pk) == ""
    assert set((await in_store(errors, domain)).values()) == {""}
    assert await look(place, "mta-sts.customer.example", "CNAME", LAB) == ("policies.provider.example",)
    assert await in_store(remove_zone, scope_of(domain), zone_id)
    assert await update_domain(settings_here, domain.pk) == ""


async def test_what_somebody_changed_behind_our_back_is_theirs(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    await in_store(keep, settings_here, domain, place)
    await in_store(OutboxItem.objects.all().delete)
    policy_id = await in_store(publish, domain, 86_400)
    await update_domain(settings_here, domain.pk)
    ours, theirs = (f"v=STSv1; id={policy_id};",), ("v=STSv1; id=theirs;",)
    await replace(place, Wanted(STS, "TXT", theirs), (ours,), LAB)
    await in_store(OutboxItem.objects.all().delete)
    await in_store(publish, domain, 604_800)
    assert await update_domain(settings_here, domain.pk) == ""
    assert await look(place, STS, "TXT", LAB) == theirs
    assert "id=theirs" in (await in_store(errors, domain))["_mta-sts"]


async def test_what_was_written_before_a_crash_is_still_ours(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    await in_store(keep, settings_here, domain, place)
    await in_store(OutboxItem.objects.all().delete)
    first = Wanted(STS, "TXT", (f"v=STSv1; id={await in_store(publish, domain, 86_400)};",))
    # sent and done, and nobody lived to note it
    await in_store(note_attempt, domain, "_mta-sts", first.values)
    await replace(place, first, (), LAB)
    await in_store(OutboxItem.objects.all().delete)
    second = await in_store(publish, domain, 604_800)
    assert await update_domain(settings_here, domain.pk) == ""
    assert await look(place, STS, "TXT", LAB) == (f"v=STSv1; id={second};",)


async def test_a_server_that_is_away_is_tried_again_and_told_of(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    away = changed(place, port=1)
    await in_store(keep, settings_here, domain, away)
    assert "Connection refused" in await update_domain(settings_here, domain.pk)
    assert (await in_store(errors, domain))["mta-sts"] == "127.0.0.1 port 1: Connection refused"
    # written, but the answer was lost: the next attempt knows its own
    await in_store(keep, settings_here, domain, place)
    zone = await in_store(DnsZone.objects.get)
    assert await try_zone(settings_here, zone) == ""


def test_the_page_seals_the_secret_and_tells_what_is_wrong(alice: Client) -> None:
    given = {
        "zone": "Example.test.", "server": "127.0.0.1:9", "key_name": "mailward.",
        "algorithm": "hmac-sha256", "secret": SECRET,
    }  # fmt: skip
    address = reverse("dns-servers")
    page = alice.post(address, given, follow=True).content.decode()
    assert "example.test: 127.0.0.1 is a loopback address" in page or "not connected to" in page
    zone = DnsZone.objects.get(zone="example.test")
    assert KEY.secret not in bytes(zone.key)
    assert SECRET not in page
    for field, wrong, complaint in (
        ("server", "ns.example", "is no server"),
        ("secret", "short", "base64"),
        ("zone", "no zone", "This is no zone"),
    ):
        refused = alice.post(address, given | {field: wrong}).content.decode()
        assert complaint in refused
        assert SECRET not in refused


def test_a_new_key_seals_the_secrets_of_zones_too(domain: Domain) -> None:
    old, new = b"o" * 32, b"n" * 32
    purpose = zone_purpose(domain.organisation_id, "customer.example")
    data = ZoneData(
        "customer.example", "192.0.2.1", "k", "hmac-sha256", Keyring([old]).seal(KEY.secret, purpose), False
    )
    save_zone(scope_of(domain), data)
    assert reseal(Keyring([new, old])) == 1
    assert Keyring([new]).open(bytes(DnsZone.objects.get().key), purpose) == KEY.secret


async def test_a_tenant_s_server_is_none_of_our_own_doors(tmp_path: Path, domain: Domain) -> None:
    """What listens beside us may trust who comes from this machine."""
    settings = Settings(data=str(tmp_path), dns=Dns(own_addresses=("8.8.8.8",)))
    sealed = load_keyring(settings).seal(KEY.secret, zone_purpose(domain.organisation_id, "customer.example"))
    data = ZoneData("customer.example", "8.8.8.8:5432", "mailward", "hmac-sha256", sealed, is_forced=False)
    zone = await in_store(save_zone, scope_of(domain), data)
    refused = "8.8.8.8 is an address of our own, which is not connected to; settings: dns.allow_own_addresses"
    assert await try_zone(settings, zone) == refused
