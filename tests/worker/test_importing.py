"""A list of domains from the file to records to publish, with a DNS server on loopback."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from asgiref.sync import async_to_sync
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.policyhost import PolicyHost, http

from mailward.config import Dns, Settings, Watch
from mailward.core.importing.listing import Listing
from mailward.monitor.writing import Form, write
from mailward.net import clock
from mailward.net.listing import read_listing
from mailward.store.aio import in_store
from mailward.store.models import (
    Domain,
    DomainImport,
    ImportState,
    Organisation,
    OutboxItem,
    PolicyProfile,
    ProfileMember,
    Role,
    User,
)
from mailward.store.scope import Scope, scope_of
from mailward.store.services import importing
from mailward.worker import loop
from mailward.worker.handlers import HANDLERS
from mailward.worker.importing import work
from mailward.worker.publishing import lines_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    with server.threaded():
        yield server


@pytest.fixture
def settings(dns: FakeDns) -> Settings:
    return Settings(
        dns=Dns(
            resolvers=(dns.address,), authoritative_override=(dns.address,), allow_private_addresses=True
        ),
        watch=Watch(https_port=1),
    )


def begin(organisation: Organisation, text: str, profile: PolicyProfile | None = None) -> DomainImport:
    return importing.begin(
        organisation.pk, None, read_listing(text.encode()), "list.csv", profile.pk if profile else None
    )


def verdicts(made: DomainImport) -> dict[str, str]:
    return dict(made.rows.values_list("name", "verdict"))


def test_a_dry_run_adds_nothing_and_gives_each_row_its_verdict(
    organisation: Organisation, domain: Domain, settings: Settings, dns: FakeDns
) -> None:
    dns.set("new.test", "MX", "10 mx.new.test.")
    dns.set("announced.test", "MX", "10 mx.new.test.")
    dns.set("_mta-sts.announced.test", "TXT", "v=STSv1; id=1;")
    made = begin(organisation, "new.test\nsilent.test\nannounced.test\nexample.test\nnot a name\n")
    async_to_sync(work)(settings, made.pk)
    made.refresh_from_db()
    assert made.state == ImportState.PLANNED
    assert verdicts(made) == {
        "new.test": "new",
        "silent.test": "without-policy",
        "announced.test": "without-policy",  # its policy host does not answer: nobody knows what senders hold
        "example.test": "there",
        "not a name": "unreadable",
    }
    assert Domain.objects.count() == 1


@pytest.mark.parametrize(
    ("fails", "stands", "verdict", "reason"),
    [
        (("_mta-sts",), (), "without-policy", "DNS did not answer for _mta-sts.held.test"),
        (("mta-sts",), (), "without-policy", "DNS did not answer for mta-sts.held.test"),
        (("_mta-sts", "mta-sts"), (), "without-policy", "DNS did not answer for _mta-sts.held.test"),
        ((), ("mta-sts",), "without-policy", "mta-sts.held.test is there"),
        # a wildcard, and a name that leads here already
        ((), ("mta-sts", "mailward-looks-for-a-wildcard"), "new", ""),
        ((), ("mta-sts", "policy.ours"), "new", ""),
        ((), (), "new", ""),
    ],
)
@pytest.mark.parametrize("columns", ["domain\nheld.test\n", "domain,mx\nheld.test,mx.held.test\n"])
def test_what_senders_may_hold_from_elsewhere_is_not_replaced(
    organisation: Organisation,
    settings: Settings,
    dns: FakeDns,
    fails: tuple[str, ...],
    stands: tuple[str, ...],
    verdict: str,
    reason: str,
    columns: str,
) -> None:
    dns.set("held.test", "MX", "10 mx.held.test.")
    for label in fails:
        dns.fail(Fault.SERVFAIL, f"{label}.held.test")
    for label in stands:
        dns.set(f"{label}.held.test", "A", "127.0.0.1")
    own = msgspec.structs.replace(settings.policy_host, public_name="policy.ours.held.test")
    made = begin(organisation, columns)
    async_to_sync(work)(msgspec.structs.replace(settings, policy_host=own), made.pk)
    row = made.rows.get()
    assert row.verdict == verdict
    assert reason in row.reason


def test_what_is_carried_out_has_tokens_a_policy_and_records(
    organisation: Organisation, settings: Settings, dns: FakeDns
) -> None:
    dns.set("new.test", "MX", "10 mx.new.test.")
    profile = PolicyProfile.objects.create(
        organisation=organisation, name="Shared", mode="testing", max_age_seconds=86_400
    )
    made = begin(organisation, "new.test\nsilent.test\n", profile)
    async_to_sync(work)(settings, made.pk)
    assert importing.start(organisation.pk, made.pk)
    async_to_sync(work)(settings, made.pk)
    made.refresh_from_db()
    assert made.state == ImportState.DONE
    version = Domain.objects.get(name="new.test").current_version
    assert version is not None
    assert (version.mode, version.mx, version.reason) == ("testing", ["mx.new.test"], "Imported: list.csv")
    assert Domain.objects.get(name="silent.test").current_version is None
    assert ProfileMember.objects.filter(profile=profile).count() == 2
    assert not importing.start(organisation.pk, made.pk)


def test_an_import_that_died_goes_on_where_it_was(organisation: Organisation, settings: Settings) -> None:
    names = "".join(f"d{n}.test,mx.test\n" for n in range(importing.BATCH + 10))
    made = begin(organisation, f"domain,mx\n{names}")
    async_to_sync(work)(settings, made.pk)
    importing.start(organisation.pk, made.pk)
    assert importing.carry_out_some(made.pk)
    assert Domain.objects.count() == importing.BATCH
    # somebody adds one of the others by hand meanwhile
    Domain.objects.create(
        organisation=organisation, name=f"d{importing.BATCH + 5}.test", report_token="x", claim_token="y"
    )
    async_to_sync(work)(settings, made.pk)
    assert Domain.objects.count() == importing.BATCH + 10
    assert made.rows.get(name=f"d{importing.BATCH + 5}.test").verdict == "there"


def test_a_dropped_import_asks_nobody_any_more(
    organisation: Organisation, settings: Settings, alice_user: User
) -> None:
    scope = scope_of(alice_user)
    assert scope is not None
    made = begin(organisation, "new.test\n")
    assert importing.drop(scope, made.pk)
    assert importing.next_wishes(made.pk) == ({}, frozenset())


def test_a_row_with_more_hosts_than_a_policy_holds_stops_no_other(
    organisation: Organisation, settings: Settings
) -> None:
    many = " ".join(f"mx{n}.{'x' * 40}.test" for n in range(1_500))
    made = begin(organisation, f"domain,mx\nlarge.test,{many}\nsmall.test,mx.test\n")
    async_to_sync(work)(settings, made.pk)
    assert importing.start(organisation.pk, made.pk)
    async_to_sync(work)(settings, made.pk)
    assert verdicts(made) == {"large.test": "without-policy", "small.test": "new"}
    assert Domain.objects.get(name="large.test").current_version is None
    assert Domain.objects.get(name="small.test").current_version is not None


def test_what_a_killed_command_left_undone_is_done_by_a_worker(
    organisation: Organisation, settings: Settings
) -> None:
    made = begin(organisation, "domain,mx\nnew.test,mx.test\n")
    async_to_sync(work)(settings, made.pk)
    OutboxItem.objects.all().delete()
    assert importing.start(organisation.pk, made.pk, for_worker=False)
    [item] = OutboxItem.objects.filter(kind=importing.KIND, key=str(made.pk))
    assert item.available_at > clock.now() + timedelta(hours=1)


def test_a_thousand_domains_take_far_less_than_a_second_each(
    organisation: Organisation, settings: Settings, dns: FakeDns
) -> None:
    """Tokens, policies and the records to publish, DNS asked for each; processor time, the DNS server's too."""
    for number in range(1_000):
        dns.set(f"d{number}.test", "MX", "10 mx.test.")
    began = time.process_time()
    made = begin(organisation, "".join(f"d{number}.test\n" for number in range(1_000)))
    async_to_sync(work)(settings, made.pk)
    importing.start(organisation.pk, made.pk)
    async_to_sync(work)(settings, made.pk)
    zone = "".join(write(Form.ZONE, lines_of(settings, Domain.objects.all())))
    spent = time.process_time() - began
    assert zone.count(" IN CNAME ") == 1_000
    assert zone.count("mailward-claim=") == 1_000
    assert Domain.objects.filter(current_version__mode="testing").count() == 1_000
    assert spent < 100


async def test_a_policy_in_force_elsewhere_comes_along_as_it_is(
    organisation: Organisation, settings: Settings, dns: FakeDns, tmp_path: Path
) -> None:
    """Mode, max_age, patterns and extension fields: no sender is served less than it holds."""
    authority = Authority(tmp_path)
    dns.set("_mta-sts.held.test", "TXT", "v=STSv1; id=7;")
    dns.set("mta-sts.held.test", "A", "127.0.0.1")
    body = b"version: STSv1\r\nmode: enforce\r\nmx: *.held.test\r\nmax_age: 2592000\r\nx-note: a;b, c: d\r\n"
    made = await in_store(begin, organisation, "domain,mx\nheld.test,mx.held.test\n")
    async with PolicyHost(authority.issue("mta-sts.held.test"), http(body)).running() as host:
        watch = Watch(https_port=host.port, ca_file=str(authority.file))
        there = msgspec.structs.replace(settings, watch=watch)
        await work(there, made.pk)
    await in_store(importing.start, organisation.pk, made.pk)
    await work(settings, made.pk)
    version = await in_store(lambda: Domain.objects.select_related("current_version").get().current_version)
    assert version is not None
    assert (version.mode, version.max_age_seconds, version.mx) == ("enforce", 2_592_000, ["*.held.test"])
    assert version.text.encode() == body


def test_a_list_may_have_extension_fields_of_the_policy(
    organisation: Organisation, settings: Settings
) -> None:
    text = 'domain;mx;extensions\nnew.test;mx.new.test;"x-note: a, b: c\nx-two: 2"\n'
    made = begin(organisation, text)
    async_to_sync(work)(settings, made.pk)
    assert importing.start(organisation.pk, made.pk)
    async_to_sync(work)(settings, made.pk)
    version = Domain.objects.get(name="new.test").current_version
    assert version is not None
    assert version.text.endswith("mx: mx.new.test\r\nmax_age: 86400\r\nx-note: a, b: c\r\nx-two: 2\r\n")


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("x-note", "extensions: 'x-note' is not a name, a colon and a value"),
        ("mode: none", "extensions: 'mode' is a field of the policy already"),
        ("x: 1\nx: 2", "extensions: 'x' is a field of the policy already"),
    ],
)
def test_extension_fields_that_are_none_are_told(cell: str, reason: str) -> None:
    listing = read_listing(f'domain,mx,extensions\nnew.test,mx.test,"{cell}"\n'.encode())
    assert [each.reason for each in listing.refused] == [reason]


def test_extension_fields_that_no_policy_may_have_are_told() -> None:
    listing = read_listing(b'domain,mx,extensions\nnew.test,mx.test,"no name: 1"\n')
    assert listing.wishes == ()
    assert listing.refused


def test_two_organisations_keep_apart(
    organisation: Organisation, strangers: Organisation, settings: Settings
) -> None:
    made = begin(organisation, "domain,mx\na.test,mx.test\n")
    async_to_sync(work)(settings, made.pk)
    assert not importing.start(strangers.pk, made.pk)
    assert not Domain.objects.exists()


def listed(count: int, suffix: str) -> Listing:
    rows = "".join(f"d{number}.{suffix}\n" for number in range(count))
    return read_listing(f"domain\n{rows}".encode(), "list.csv", "")


async def test_a_long_import_lets_others_have_their_turn(
    settings: Settings, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "LOOKED_AT_ONCE", 2)
    organisation_id = organisation.pk
    first = await in_store(importing.begin, organisation_id, None, listed(30, "long.test"), "long")
    second = await in_store(importing.begin, organisation_id, None, listed(2, "short.test"), "short")
    handler = next(each for each in HANDLERS if each.kind == "import")
    order = []
    for made in (first, second):
        await loop.work_once(settings, handler)
        order.append(await in_store(importing.state_of, made.pk))
    # the long one has had a turn, and is not through; the short one is
    assert order == [ImportState.LOOKING, ImportState.PLANNED]
    while await loop.work_once(settings, handler):
        pass
    assert await in_store(importing.state_of, first.pk) == ImportState.PLANNED


def test_an_organisation_has_so_many_imports_under_way_and_old_ones_are_forgotten(
    organisation: Organisation,
) -> None:
    organisation_id = organisation.pk
    begun = clock.now()
    with clock.frozen(begun):
        made = [
            importing.begin(organisation_id, None, listed(1, f"{number}.test"), "list")
            for number in range(10)
        ]
        with pytest.raises(importing.TooManyImports):
            importing.begin(organisation_id, None, listed(1, "more.test"), "list")
        assert importing.drop(Scope(organisation.pk, 0, Role.OWNER), made[0].pk)
        importing.begin(organisation_id, None, listed(1, "more.test"), "list")
    with clock.frozen(begun + timedelta(days=89)):
        importing.sweep()
        assert DomainImport.objects.count() == 11
    with clock.frozen(begun + timedelta(days=91)):
        importing.sweep()
    assert not DomainImport.objects.exists()
