"""Records that were right and are taken away, with a DNS server on loopback."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from tests.fakes.dns import FakeDns, Fault

from mailward.config import Dns, PolicyHost, Settings
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.watch.upkeep import IN_FRONT
from mailward.net import clock
from mailward.store.models import Domain, OutboxItem, Problem, RecordCheck
from mailward.store.services.policies import announce_version, publish_policy
from mailward.store.services.upkeep import settle_records
from mailward.worker.records import check_domain

pytestmark = pytest.mark.django_db
NOON = clock.now().replace(hour=12, minute=0, second=0, microsecond=0)


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    with server.threaded():
        yield server


@pytest.fixture
def settings(dns: FakeDns) -> Settings:
    where = (dns.address,)
    return Settings(
        dns=Dns(resolvers=where, authoritative_override=where),
        policy_host=PolicyHost(public_name="policies.host.test"),
    )


@pytest.fixture
def served(domain: Domain, dns: FakeDns) -> Domain:
    """Announced two days ago, and every record as it should be."""
    with clock.frozen(NOON - timedelta(days=2)):
        version = publish_policy(
            domain.organisation_id, domain.pk, Policy(Mode.TESTING, 86_400, ("mx.test",)), author_id=None
        )
        announce_version(domain.pk, version.pk)
    dns.set("mta-sts.example.test", "CNAME", "policies.host.test.")
    dns.set("_mta-sts.example.test", "TXT", f"v=STSv1; id={version.policy_id};")
    dns.set(
        "_smtp._tls.example.test", "TXT", f"v=TLSRPTv1; rua=mailto:{domain.report_token}@reports.localhost"
    )
    return domain


def look(settings: Settings, domain: Domain, at: timedelta = timedelta()) -> list[str]:
    """The causes that are open then."""
    with clock.frozen(NOON + at):
        async_to_sync(check_domain)(settings, domain.pk)
    return list(Problem.objects.filter(closed_at=None).values_list("result_type", flat=True))


def test_a_cname_that_is_gone_is_told_when_it_was_seen_twice_and_ends_when_it_is_back(
    settings: Settings, served: Domain, dns: FakeDns
) -> None:
    assert look(settings, served) == []
    assert RecordCheck.objects.filter(was_right=True).count() == 5, (
        "three records, that servers agree, and sign"
    )
    OutboxItem.objects.all().delete()
    dns.set("mta-sts.example.test", "CNAME", "elsewhere.test.")
    assert look(settings, served) == []
    again = OutboxItem.objects.get(kind="records")
    assert again.available_at == NOON + timedelta(minutes=5)
    assert look(settings, served, timedelta(minutes=5)) == ["hosted-policy-host"]
    assert Problem.objects.get().host == "mta-sts.example.test"
    dns.set("mta-sts.example.test", "CNAME", "policies.host.test.")
    assert look(settings, served, timedelta(minutes=10)) == []


def test_an_id_by_hand_has_a_day_to_follow(settings: Settings, served: Domain) -> None:
    look(settings, served)
    with clock.frozen(NOON):
        version = publish_policy(
            served.organisation_id, served.pk, Policy(Mode.TESTING, 604_800, ("mx.test",)), author_id=None
        )
        announce_version(served.pk, version.pk)
    for hours in (1, 2, 23):
        assert look(settings, served, timedelta(hours=hours)) == []
    assert look(settings, served, timedelta(hours=24)) == []
    assert look(settings, served, timedelta(hours=24, minutes=5)) == ["hosted-policy-id"]


def test_what_was_never_set_up_is_no_news(settings: Settings, served: Domain, dns: FakeDns) -> None:
    dns.set("_smtp._tls.example.test", "TXT")
    for minutes in range(0, 30, 5):
        assert look(settings, served, timedelta(minutes=minutes)) == []


@pytest.fixture
def lagging(dns: FakeDns) -> Iterator[FakeDns]:
    """Another server of the same zone, which says the same at first."""
    server = FakeDns()
    with server.threaded():
        yield server


def both(dns: FakeDns, lagging: FakeDns) -> Settings:
    where = (dns.address, lagging.address)
    return Settings(
        dns=Dns(resolvers=(dns.address,), authoritative_override=where),
        policy_host=PolicyHost(public_name="policies.host.test"),
    )


@pytest.mark.parametrize(
    ("name", "rdtype", "stale", "words"),
    [
        ("example.test", "MX", "20 old.test.", "MX old.test"),
        ("mta-sts.example.test", "CNAME", "", "no address"),
    ],
)
def test_servers_that_differ_are_told_when_it_was_seen_twice_and_it_ends_when_they_agree(
    served: Domain, dns: FakeDns, lagging: FakeDns, name: str, rdtype: str, stale: str, words: str
) -> None:
    settings = both(dns, lagging)
    dns.set("policies.host.test", "A", "192.0.2.1")
    # their order, preferences and addresses are no difference
    dns.set("example.test", "MX", "10 mx1.test.", "20 mx2.test.")
    lagging.set("policies.host.test", "A", "192.0.2.2")
    lagging.set("example.test", "MX", "5 MX2.test.", "10 mx1.test.")
    for each, kind in (("mta-sts", "CNAME"), ("_mta-sts", "TXT"), ("_smtp._tls", "TXT")):
        lagging.copy(dns, f"{each}.example.test", kind)
    assert look(settings, served) == []
    good = lagging.texts(name, rdtype)
    lagging.set(name, rdtype, *filter(None, [stale]))
    assert look(settings, served) == []
    assert look(settings, served, timedelta(minutes=5)) == ["hosted-servers-differ"]
    assert Problem.objects.get().host == "example.test"
    [seen] = RecordCheck.objects.filter(record="servers").values_list("detail", flat=True)
    assert f"{lagging.address}: {words}" in seen
    # a server that says nothing costs time, and another one tells
    lagging.fail(Fault.SERVFAIL)
    assert look(settings, served, timedelta(minutes=10)) == []
    lagging.heal()
    lagging.set(name, rdtype, *good)
    assert look(settings, served, timedelta(minutes=15)) == []


def signature(ends: timedelta, life: timedelta) -> str:
    """Of MX records, as a signer makes it; nobody here verifies it."""
    end = NOON + ends
    return f"MX 13 2 60 {end:%Y%m%d%H%M%S} {end - life:%Y%m%d%H%M%S} 4711 example.test. {'AAAA' * 22}"


def test_signatures_that_nobody_renews_are_told_before_they_end(
    settings: Settings, served: Domain, dns: FakeDns
) -> None:
    two_weeks = timedelta(days=14)
    dns.set("example.test", "MX", "10 mx.test.")
    # Knot leaves a tenth and some hours; a signer that works has made another with another key
    dns.set("example.test", "RRSIG", signature(timedelta(days=1.5), two_weeks))
    assert look(settings, served) == []
    assert look(settings, served, timedelta(minutes=5)) == []
    old = signature(timedelta(hours=20), two_weeks)
    dns.set("example.test", "RRSIG", old, signature(timedelta(days=9), two_weeks))
    assert look(settings, served, timedelta(minutes=10)) == []
    dns.set("example.test", "RRSIG", old)
    assert look(settings, served, timedelta(minutes=15)) == []
    assert look(settings, served, timedelta(minutes=20)) == ["hosted-signatures-end"]
    [seen] = RecordCheck.objects.filter(record="signatures").values_list("detail", flat=True)
    assert f"{dns.address}: until {NOON + timedelta(hours=20):%Y-%m-%d %H:%M} UTC" in seen
    # made anew with each answer, for a day or two
    dns.set("example.test", "RRSIG", signature(timedelta(hours=25), timedelta(hours=50)))
    assert look(settings, served, timedelta(minutes=25)) == []


def test_a_domain_whose_policy_we_do_not_serve_is_left_alone(
    settings: Settings, served: Domain, dns: FakeDns
) -> None:
    look(settings, served)
    Domain.objects.filter(pk=served.pk).update(current_version=None)
    dns.set("mta-sts.example.test", "CNAME", "elsewhere.test.")
    for minutes in range(0, 30, 5):
        assert look(settings, served, timedelta(minutes=minutes)) == []


@pytest.mark.parametrize(
    ("detail", "foreign", "told"),
    [
        (IN_FRONT, True, []),
        ("", True, ["hosted-policy-id"]),  # the host is ours: nobody follows that id
        (IN_FRONT, False, ["hosted-policy-id"]),  # a host in front of ours, and an old id
    ],
)
def test_an_id_of_the_provider_that_the_domain_moves_to_is_no_problem(
    settings: Settings, served: Domain, detail: str, foreign: bool, told: list[str]
) -> None:
    look(settings, served)
    old = served.versions.get().policy_id
    with clock.frozen(NOON - timedelta(days=1, hours=12)):
        version = publish_policy(served.organisation_id, served.pk, Policy(Mode.NONE, 86_400), author_id=None)
        announce_version(served.pk, version.pk)
    RecordCheck.objects.filter(record="mta-sts").update(detail=detail)
    text = f"TXT v=STSv1; id={'theirs1' if foreign else old};"
    RecordCheck.objects.filter(record="_mta-sts").update(state="wrong", observed=[text], was_right=True)
    for minutes in (0, 5):
        with clock.frozen(NOON + timedelta(minutes=minutes)):
            settle_records(served.pk, ["_mta-sts"], settings.problems)
    assert list(Problem.objects.values_list("result_type", flat=True)) == told
