"""A domain's records at its own DNS server: the worker, the store and a real Knot together."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace as changed
from datetime import timedelta
from pathlib import Path

import dns.asyncquery
import dns.update
import msgspec
import pytest
from django.test import Client
from django.urls import reverse
from tests.fakes.ports import free_port
from tests.hosting.daemons import Tree, ask_until, make_tree
from tests.hosting.test_dnsupdate import KEY, KNOT, SECRET, ZONE

from mailward.config import Dns, PolicyHost, Settings
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain as DomainName
from mailward.monitor.records import RecordKey, State
from mailward.net import clock
from mailward.net.dnsupdate import Place, Wanted, look, replace
from mailward.net.guard import Guard
from mailward.net.sealing import Keyring, load_keyring
from mailward.store.aio import in_store
from mailward.store.models import (
    DnsWritten,
    DnsZone,
    Domain,
    Leaving,
    Organisation,
    OutboxItem,
    ProbeSlot,
    Role,
)
from mailward.store.scope import Scope
from mailward.store.services import leaving
from mailward.store.services.bulk_policies import Wanted as BulkWanted
from mailward.store.services.bulk_policies import publish_policies
from mailward.store.services.dnsupdates import ZoneData, note_attempt, remove_zone, save_zone, zone_purpose
from mailward.store.services.domains import create_domain, create_domains, delete_domain
from mailward.store.services.policies import announce_version, publish_policy
from mailward.store.services.resealing import reseal
from mailward.worker import loop
from mailward.worker.handlers import HANDLERS
from mailward.worker.records import check_domain
from mailward.worker.updating import Outcome, bring_domain, try_zone, update_domain

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="programs of a Debian tree run as root only"),
    pytest.mark.django_db(transaction=True),
]
REMOVAL = next(handler for handler in HANDLERS if handler.kind == "dns-remove")
LAB = Guard(allow_private=True)
STS = "_mta-sts.customer.example"
FIRST_POLICY = Policy(Mode.TESTING, 86_400, ("mx.customer.example",))


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    with make_tree() as tree:
        yield tree


@pytest.fixture
async def place(tree: Tree) -> AsyncIterator[Place]:
    port = free_port()
    # the zone as others wrote it, whatever the test before has changed
    shutil.rmtree(tree.root / "own/knot", ignore_errors=True)
    tree.write("knot/customer.zone", ZONE)
    tree.write("server.conf", KNOT.replace("{port}", str(port)))
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
def settings_here(tmp_path: Path, place: Place) -> Settings:
    return Settings(
        data=str(tmp_path),
        policy_host=PolicyHost(public_name="policies.provider.example"),
        dns=Dns(allow_private_addresses=True, update_ports=(53, 1, place.port)),
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
    OutboxItem.objects.filter(kind="dns-update").delete()
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


NEW = "new.customer.example"


def put_for(domain: Domain) -> bool:
    return OutboxItem.objects.filter(kind="dns-update", key=str(domain.pk)).delete()[0] > 0


async def test_a_domain_that_is_added_to_a_kept_zone_gets_everything_that_its_policy_waits_for(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    there = (f"{place.address}:{place.port}",)
    dns_there = msgspec.structs.replace(settings_here.dns, resolvers=there, authoritative_override=there)
    seen = msgspec.structs.replace(settings_here, dns=dns_there)
    await in_store(keep, settings_here, domain, place)
    new = await in_store(create_domain, scope_of(domain), DomainName(NEW))
    assert await in_store(put_for, new)
    assert await update_domain(settings_here, new.pk) == ""
    claim = (f"mailward-claim={new.claim_token}",)
    assert await look(place, f"_mailward-challenge.{NEW}", "TXT", LAB) == claim
    assert await look(place, f"mta-sts.{NEW}", "CNAME", LAB) == ("policies.provider.example",)
    states = {state.key: state.state for state in await check_domain(seen, new.pk)}
    assert states[RecordKey.CLAIM] is State.RIGHT
    assert await in_store(Domain.objects.filter(pk=new.pk, claim_verified_at__isnull=False).exists)
    # the id has no place there before every policy host serves its policy
    version = await in_store(
        lambda: publish_policy(new.organisation_id, new.pk, FIRST_POLICY, author_id=None)
    )
    assert await in_store(put_for, new)
    assert await update_domain(settings_here, new.pk) == ""
    assert await look(place, f"_mta-sts.{NEW}", "TXT", LAB) == ()
    assert await in_store(announce_version, new.pk, version.pk)
    assert await update_domain(settings_here, new.pk) == ""
    assert await look(place, f"_mta-sts.{NEW}", "TXT", LAB) == (f"v=STSv1; id={version.policy_id};",)
    await in_store(delete_domain, scope_of(domain), new.pk)
    await loop.work_once(settings_here, REMOVAL)
    for label, rdtype in (("_mailward-challenge", "TXT"), ("mta-sts", "CNAME"), ("_mta-sts", "TXT")):
        assert await look(place, f"{label}.{NEW}", rdtype, LAB) == ()


async def test_records_give_way_to_a_policy_here_alone(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    """Whoever serves a policy goes on until there is one here, and another claim is no business of ours."""
    claimed = ("mailward-claim=theirs",)
    challenge = "_mailward-challenge.customer.example"
    await replace(place, Wanted(challenge, "TXT", claimed), (), LAB)
    await in_store(keep, settings_here, domain, place, is_forced=True)
    assert await update_domain(settings_here, domain.pk) == ""
    assert await look(place, "mta-sts.customer.example", "A", LAB) == ("192.0.2.1",)
    await in_store(lambda: publish_policy(domain.organisation_id, domain.pk, FIRST_POLICY, author_id=None))
    assert await update_domain(settings_here, domain.pk) == ""
    assert await look(place, "mta-sts.customer.example", "CNAME", LAB) == ("policies.provider.example",)
    assert await look(place, challenge, "TXT", LAB) == claimed


async def test_a_claim_that_people_proved_is_theirs_to_keep(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    """The server may allow no update of its name."""
    await in_store(lambda: Domain.objects.update(claim_verified_at=clock.now()))
    await in_store(keep, settings_here, domain, place)
    assert await update_domain(settings_here, domain.pk) == ""
    assert await look(place, "_mailward-challenge.customer.example", "TXT", LAB) == ()


def test_policies_of_many_domains_put_those_of_kept_zones(domain: Domain) -> None:
    data = ZoneData("customer.example", "192.0.2.1", "k", "hmac-sha256", b"", is_forced=False)
    save_zone(scope_of(domain), data)
    names = [DomainName(name) for name in (NEW, "xcustomer.example", "elsewhere.example")]
    made = create_domains(scope_of(domain), names).created
    assert [put_for(each) for each in made] == [True, False, False]
    wanted = [BulkWanted(each.pk, FIRST_POLICY, 0) for each in made]
    outcomes = publish_policies(domain.organisation_id, wanted, author_id=None, reason="")
    assert [put_for(each) for each in made] == [True, False, False]
    version = outcomes[made[0].pk].version
    assert version is not None
    again = [BulkWanted(made[0].pk, changed(FIRST_POLICY, max_age_seconds=604_800), version.pk)]
    publish_policies(domain.organisation_id, again, author_id=None, reason="")
    assert not put_for(made[0])


async def test_what_was_written_is_looked_at_soon_after_and_what_stood_there_is_not(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    """A look that came between the policy's announcement and the update saw the record missing."""
    await in_store(keep, settings_here, domain, place, is_forced=True)
    looks = OutboxItem.objects.filter(kind="records", key=str(domain.pk))
    for is_expected in (True, False):
        await in_store(looks.delete)
        assert await update_domain(settings_here, domain.pk) == ""
        assert await in_store(looks.exists) is is_expected


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


def leave(domain: Domain) -> int:
    """The wait of RFC 8461 section 8.3 is over, and people are told."""
    row = leaving.begin(domain.organisation_id, domain.pk, author_id=None)
    announce_version(domain.pk, row.version_id)
    leaving.tell(row.pk, "", (), "")
    assert OutboxItem.objects.filter(kind="dns-update", key=str(domain.pk)).exists()
    return row.pk


@pytest.fixture
async def written(settings_here: Settings, domain: Domain, place: Place) -> str:
    """All three records stand at the server, and we wrote them; the policy's id."""
    await remove_others(place)
    await in_store(keep, settings_here, domain, place)
    await in_store(OutboxItem.objects.all().delete)
    policy_id = await in_store(publish, domain, 86_400)
    assert await update_domain(settings_here, domain.pk) == ""
    await in_store(OutboxItem.objects.all().delete)
    return policy_id


async def remove_others(place: Place) -> None:
    for name, rdtype, values in (
        ("mta-sts.customer.example", "A", ("192.0.2.1",)),
        ("_smtp._tls.customer.example", "TXT", ("v=TLSRPTv1; rua=mailto:somebody@elsewhere.example",)),
    ):
        update = dns.update.UpdateMessage("customer.example", keyring=place.key)
        update.delete(f"{name}.")  # whatever its type: the key may remove no A alone
        assert await look(place, name, rdtype, LAB) == values
        await dns.asyncquery.tcp(update, place.address, 5, place.port)


async def standing(place: Place) -> dict[str, bool]:
    names = {"mta-sts": "CNAME", "_mta-sts": "TXT", "_smtp._tls": "TXT"}
    return {
        label: bool(await look(place, f"{label}.customer.example", rdtype, LAB))
        for label, rdtype in names.items()
    }


@pytest.mark.usefixtures("written")
async def test_who_leaves_has_the_policy_s_records_removed_and_they_do_not_come_back(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    assert await standing(place) == {"mta-sts": True, "_mta-sts": True, "_smtp._tls": True}
    row_id = await in_store(leave, domain)
    left = {"mta-sts": False, "_mta-sts": False, "_smtp._tls": True}
    for _ in range(2):  # the second time as by "Try now"
        assert await update_domain(settings_here, domain.pk) == ""
        assert await standing(place) == left
    await in_store(lambda: Domain.objects.update(current_version=None, announced_version=None))
    await in_store(lambda: Leaving.objects.filter(pk=row_id).update(ended_at=clock.now(), outcome="done"))
    assert await update_domain(settings_here, domain.pk) == ""
    assert await standing(place) == left
    # who comes back has a way to the policy host before the policy can be served
    policy = Policy(Mode.TESTING, 86_400, ("mx.customer.example",))
    await in_store(OutboxItem.objects.all().delete)
    await in_store(lambda: publish_policy(domain.organisation_id, domain.pk, policy, author_id=None))
    assert await in_store(OutboxItem.objects.filter(kind="dns-update").exists)
    assert await update_domain(settings_here, domain.pk) == ""
    assert await standing(place) == {"mta-sts": True, "_mta-sts": False, "_smtp._tls": True}


async def test_who_leaves_keeps_what_somebody_else_has_written(
    settings_here: Settings, domain: Domain, place: Place, written: str
) -> None:
    theirs = ("v=STSv1; id=theirs;",)
    await replace(place, Wanted(STS, "TXT", theirs), ((f"v=STSv1; id={written};",),), LAB)
    # even where records of others give way: that is for what we write
    await in_store(keep, settings_here, domain, place, is_forced=True)
    await in_store(leave, domain)
    assert await update_domain(settings_here, domain.pk) == ""
    assert await look(place, STS, "TXT", LAB) == theirs
    assert (await standing(place))["mta-sts"] is False


@pytest.mark.usefixtures("written")
async def test_a_domain_that_is_removed_leaves_nothing_behind(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    await in_store(delete_domain, scope_of(domain), domain.pk)
    await loop.work_once(settings_here, REMOVAL)
    assert set((await standing(place)).values()) == {False}
    assert not await in_store(OutboxItem.objects.filter(kind="dns-remove").exists)


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize("is_removed", [True, False], ids=["removed", "left"])
async def test_who_goes_leaves_the_way_to_the_policy_host_to_whoever_has_proved_the_domain_since(
    settings_here: Settings, domain: Domain, place: Place, *, is_removed: bool
) -> None:
    other = await in_store(lambda: Organisation.objects.create(name="Two", report_token="0ther"))
    proved = {"claim_token": "d", "report_token": "other", "claim_verified_at": clock.now()}
    await in_store(lambda: Domain.objects.create(organisation=other, name=domain.name, **proved))
    if is_removed:
        await in_store(delete_domain, scope_of(domain), domain.pk)
        await loop.work_once(settings_here, REMOVAL)
    else:
        await in_store(leave, domain)
        assert await update_domain(settings_here, domain.pk) == ""
    assert await standing(place) == {"mta-sts": True, "_mta-sts": False, "_smtp._tls": not is_removed}


@pytest.mark.usefixtures("written")
async def test_a_domain_that_is_there_again_goes_on_with_its_records(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    await in_store(delete_domain, scope_of(domain), domain.pk)
    again = await in_store(create_domain, scope_of(domain), DomainName("customer.example"))
    await loop.work_once(settings_here, REMOVAL)
    assert await update_domain(settings_here, again.pk) == ""
    assert await standing(place) == {"mta-sts": True, "_mta-sts": False, "_smtp._tls": True}
    report = await look(place, "_smtp._tls.customer.example", "TXT", LAB)
    assert again.report_token in report[0]


async def test_updates_go_to_the_opened_ports_alone(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    await in_store(keep, settings_here, domain, changed(place, port=25))
    refused = "updates do not go to port 25; settings: dns.update_ports"
    assert refused in await update_domain(settings_here, domain.pk)
    assert await try_zone(settings_here, await in_store(DnsZone.objects.get)) == refused


async def test_an_address_that_goes_on_failing_is_left_alone_for_an_hour(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    """People name the address: nobody there may have asked for us."""
    await in_store(keep, settings_here, domain, changed(place, port=1))
    zone = await in_store(DnsZone.objects.get)
    told = [await try_zone(settings_here, zone) for _ in range(61)]
    assert told[59].endswith("port 1: Connection refused")
    assert told[60] == "127.0.0.1 has failed 60 times within an hour; it is asked again later"
    # who goes on asking does not wait the longer for it
    with clock.frozen(clock.now() + timedelta(minutes=61)):
        assert (await try_zone(settings_here, zone)).endswith("port 1: Connection refused")


async def test_who_mends_it_does_not_wait_for_the_end_of_the_hour(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    """A server that signs with the key has asked for us, whatever failed before."""
    await in_store(keep, settings_here, domain, changed(place, port=1))
    for _ in range(61):
        failed = await update_domain(settings_here, domain.pk)
    assert "has failed 60 times" in failed
    await in_store(keep, settings_here, domain, place)
    assert await try_zone(settings_here, await in_store(DnsZone.objects.get)) == ""
    assert await update_domain(settings_here, domain.pk) == ""


def test_a_zone_that_is_removed_leaves_those_of_a_longer_one_alone(domain: Domain) -> None:
    """Who entered `example` by mistake and takes it back: the id of `customer.example` went on to be theirs no more."""
    scope, text = scope_of(domain), ("v=STSv1; id=1;",)
    mistaken, _ = (
        save_zone(scope, ZoneData(zone, "192.0.2.1", "k", "hmac-sha256", b"", is_forced=False))
        for zone in ("example", "customer.example")
    )
    other = create_domain(scope, DomainName("other.example"))
    for each in (domain, other):
        note_attempt(each, "_mta-sts", text)
    assert remove_zone(scope, mistaken.pk)
    assert list(DnsWritten.objects.values_list("domain__name", flat=True)) == ["customer.example"]


async def test_the_command_tells_what_it_would_do_and_does_it(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    await in_store(keep, settings_here, domain, place)
    tried = await bring_domain(settings_here, domain.pk, is_trial=True) or []
    assert [step.outcome for step in tried] == [Outcome.TO_WRITE, Outcome.TO_WRITE, Outcome.FOREIGN]
    assert await look(place, "mta-sts.customer.example", "CNAME", LAB) == ()
    done = await bring_domain(settings_here, domain.pk) or []
    # beside the address that stands there a CNAME has no place: the server knows, a look does not
    assert [step.outcome for step in done] == [Outcome.WRITTEN, Outcome.FOREIGN, Outcome.FOREIGN]
    await remove_others(place)
    done = await bring_domain(settings_here, domain.pk) or []
    assert [step.outcome for step in done] == [Outcome.RIGHT, Outcome.WRITTEN, Outcome.WRITTEN]
    tried = await bring_domain(settings_here, domain.pk, is_trial=True) or []
    assert [step.outcome for step in tried] == [Outcome.RIGHT, Outcome.RIGHT, Outcome.RIGHT]


async def test_a_server_that_is_away_is_tried_again_and_told_of(
    settings_here: Settings, domain: Domain, place: Place
) -> None:
    away = changed(place, port=1)
    await in_store(keep, settings_here, domain, away)
    assert "Connection refused" in await update_domain(settings_here, domain.pk)
    told = await in_store(errors, domain)
    assert set(told.values()) == {"127.0.0.1 port 1: Connection refused"}
    # one attempt for all records: a zone of twenty domains would else be given up for an hour by one restart
    assert len(told) > 1
    assert await in_store(lambda: ProbeSlot.objects.get().connections) == 1
    # written, but the answer was lost: the next attempt knows its own
    await in_store(keep, settings_here, domain, place)
    zone = await in_store(DnsZone.objects.get)
    assert await try_zone(settings_here, zone) == ""


def test_the_page_seals_the_secret_and_tells_what_is_wrong(alice: Client) -> None:
    given = {
        "zone": "Example.test.", "server": "127.0.0.1:53", "key_name": "mailward.",
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
        ("server", "192.0.2.1:5432", "Updates do not go to port 5432; settings: dns.update_ports"),
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
    settings = Settings(data=str(tmp_path), dns=Dns(own_addresses=("8.8.8.8",), update_ports=(5432,)))
    sealed = load_keyring(settings).seal(KEY.secret, zone_purpose(domain.organisation_id, "customer.example"))
    data = ZoneData("customer.example", "8.8.8.8:5432", "mailward", "hmac-sha256", sealed, is_forced=False)
    zone = await in_store(save_zone, scope_of(domain), data)
    refused = "8.8.8.8 is an address of our own, which is not connected to; settings: dns.allow_own_addresses"
    assert await try_zone(settings, zone) == refused
