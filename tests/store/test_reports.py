"""One report is one report, the more trusted copy wins, and the daily tables say what counted reports add
up to.
"""

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.fakes.signer import report_json

from mailward.core.check.facts import Facts, Found, Lookup, MxHost, PolicyHost
from mailward.core.names import Domain as Name
from mailward.core.tlsrpt.schema import Report as WireReport
from mailward.core.watch.keeping import pack_facts
from mailward.store.models import (
    Check,
    DailyFailures,
    DailySessions,
    Domain,
    Door,
    OutboxItem,
    QuarantinedMessage,
    RawMessage,
    Receipt,
    Report,
    Trust,
    Watch,
)
from mailward.store.services.incoming import Incoming, Judgement, OwnedShare, Stored, digest_report
from mailward.store.services.reports import store_batch
from mailward.store.services.whose import mx_of

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
DAY = date(2026, 11, 23)
VERIFIED = Judgement(Trust.VERIFIED, "pass", "valid", "google.test")
UNVERIFIED = Judgement(Trust.UNVERIFIED, "absent")
PERSON = Judgement(Trust.VOUCHED_PERSON)


def arrival(
    domain: Domain, judgement: Judgement = VERIFIED, *, foreign: bool = False, **report: Any
) -> Incoming:
    wire = msgspec.convert(report_json(**report), WireReport)
    parsed = msgspec.json.encode(wire)
    share = OwnedShare(None if foreign else domain.pk, domain.name, tuple(range(len(wire.policies))))
    return Incoming(
        organisation_id=domain.organisation_id,
        address_domain_id=domain.pk,
        door=Door.SMTP,
        content=b"raw " + judgement.trust.value.encode(),
        received_at=NOW,
        judgement=judgement,
        reports=(digest_report(wire, hashlib.sha256(parsed).digest(), parsed, b"[]", [share]),),
    )


def store(*items: Incoming) -> list[Stored]:
    return store_batch(items)


def sessions() -> list[tuple[object, ...]]:
    return list(
        DailySessions.objects.values_list("day", "policy_type", "reporter", "ok", "failed", "reports")
    )


def failures() -> list[tuple[object, ...]]:
    return list(
        DailyFailures.objects.values_list("result_type", "host", "reporter", "sending_ip", "sessions")
    )


def test_a_verified_report_is_stored_and_counted(domain: Domain) -> None:
    (stored,) = store(arrival(domain))
    report = Report.objects.get()
    assert stored == Stored(new=1, report_ids=(report.pk,))
    assert (report.domain, report.trust, report.dkim, report.signer, report.reporter, report.counted) == (
        domain,
        "verified",
        "pass",
        "google.test",
        "google.test",
        True,
    )
    assert (report.day, report.ok, report.failed, report.policy_domains, report.copies) == (
        DAY,
        100,
        3,
        "example.test",
        1,
    )
    assert bytes(report.raw.content) == b"raw verified"
    assert sessions() == [(DAY, "sts", "google.test", 100, 3, 1)]
    assert failures() == [
        ("certificate-host-mismatch", "mx.example.test", "google.test", "203.0.113.7", 3),
    ]
    assert list(OutboxItem.objects.values_list("kind", "key")) == [("assess", str(domain.pk))]


@pytest.mark.parametrize("trust", [Trust.UNVERIFIED, Trust.FAILED, Trust.PENDING, Trust.TEST])
def test_what_nobody_vouches_for_is_kept_and_not_counted(domain: Domain, trust: Trust) -> None:
    store(arrival(domain, Judgement(trust)))
    assert Report.objects.get().counted is False
    assert sessions() == failures() == []


def test_a_pending_report_asks_to_be_verified_later(domain: Domain) -> None:
    (stored,) = store(arrival(domain, Judgement(Trust.PENDING, "temporary")))
    assert list(OutboxItem.objects.values_list("kind", "key")) == [("verify", str(stored.report_ids[0]))]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
def test_the_same_content_is_one_report(domain: Domain, together: bool) -> None:
    items = [arrival(domain), arrival(domain), arrival(domain, UNVERIFIED)]
    results = store(*items) if together else [store(item)[0] for item in items]
    report = Report.objects.get()
    assert [(one.new, one.copies, one.report_ids) for one in results] == [
        (1, 0, (report.pk,)),
        (0, 1, (report.pk,)),
        (0, 1, (report.pk,)),
    ]
    assert (report.copies, report.trust) == (3, "verified")
    assert list(Receipt.objects.values_list("trust", flat=True)) == ["verified", "unverified"]
    assert RawMessage.objects.count() == 1
    assert sessions() == [(DAY, "sts", "google.test", 100, 3, 1)]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
def test_the_more_trusted_copy_wins_and_is_counted(domain: Domain, together: bool) -> None:
    items = [arrival(domain, UNVERIFIED), arrival(domain)]
    _ = store(*items) if together else [store(item) for item in items]
    report = Report.objects.get()
    assert (report.trust, report.signer, report.counted, report.copies) == (
        "verified",
        "google.test",
        True,
        2,
    )
    assert bytes(report.raw.content) == b"raw verified"
    assert sessions() == [(DAY, "sts", "google.test", 100, 3, 1)]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
def test_counts_move_to_the_signer_when_a_verified_copy_follows_an_import(
    domain: Domain, together: bool
) -> None:
    contact = "tls@elsewhere.test"
    items = [arrival(domain, PERSON, contact=contact), arrival(domain, contact=contact)]
    if together:
        store(*items)
    else:
        store(items[0])
        assert sessions() == [(DAY, "sts", "elsewhere.test", 100, 3, 1)]
        store(items[1])
    assert sessions() == [(DAY, "sts", "google.test", 100, 3, 1)]
    assert [row[2] for row in failures()] == ["google.test"]


EVIL = Judgement(Trust.VERIFIED, "pass", "valid", "evil.test")


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize("first", [EVIL, VERIFIED], ids=["a stranger's first", "its own first"])
def test_of_two_signed_copies_that_of_the_contacts_domain_counts(
    domain: Domain, first: Judgement, together: bool
) -> None:
    """Whoever guesses a report and signs it first must not take it away from its reporter."""
    items = [arrival(domain, first), arrival(domain, EVIL if first is VERIFIED else VERIFIED)]
    _ = store(*items) if together else [store(item) for item in items]
    report = Report.objects.get()
    assert (report.signer, report.reporter, report.copies) == ("google.test", "google.test", 2)
    assert sessions() == [(DAY, "sts", "google.test", 100, 3, 1)]
    assert [row[2] for row in failures()] == ["google.test"]


def test_two_contents_under_one_id_are_both_kept(domain: Domain) -> None:
    forged = arrival(domain, Judgement(Trust.FAILED), successful=0, failed=None)
    real = arrival(domain)
    store(forged)
    store(real)
    assert set(Report.objects.values_list("trust", "counted")) == {("failed", False), ("verified", True)}
    assert Report.objects.values("report_id").distinct().count() == 1
    assert sessions() == [(DAY, "sts", "google.test", 100, 3, 1)]


def test_a_foreign_report_is_kept_apart_and_never_counted(domain: Domain) -> None:
    store(arrival(domain, foreign=True), arrival(domain))
    assert set(Report.objects.values_list("domain", "domain_key", "counted")) == {
        (None, 0, False),
        (domain.pk, domain.pk, True),
    }
    assert len(sessions()) == 1


def test_reports_of_one_day_add_up(domain: Domain) -> None:
    store(arrival(domain), arrival(domain, report_id="2", successful=50, failed=4))
    store(arrival(domain, report_id="3", successful=None, failed=2))
    assert sessions() == [(DAY, "sts", "google.test", 150, 9, 3)]
    assert [row[-1] for row in failures()] == [9]


def test_no_data_is_not_no_failure(domain: Domain) -> None:
    store(arrival(domain, successful=None, failed=None))
    report = Report.objects.get()
    assert (report.ok, report.failed, report.counted) == (None, None, True)
    assert sessions() == []


def test_sessions_are_never_summed_over_policy_types(domain: Domain) -> None:
    item = arrival(domain)
    wire = msgspec.convert(report_json(), WireReport)
    tlsa = msgspec.convert(report_json(policy_type="tlsa", successful=90, failed=0), WireReport).policies
    both = msgspec.structs.replace(wire, policies=wire.policies + tlsa)
    share = OwnedShare(domain.pk, domain.name, (0, 1))
    store(msgspec.structs.replace(item, reports=(digest_report(both, b"h" * 32, b"{}", b"[]", [share]),)))
    report = Report.objects.get()
    assert (report.ok, report.failed) == (100, 3)
    assert {row[1:5] for row in sessions()} == {
        ("sts", "google.test", 100, 3),
        ("tlsa", "google.test", 90, 0),
    }


def test_a_failure_of_the_policy_host_is_booked_on_it(domain: Domain) -> None:
    detail = {"result-type": "sts-policy-fetch-error", "failed-session-count": 5}
    store(arrival(domain, details=[detail]))
    assert failures() == [("sts-policy-fetch-error", "mta-sts.example.test", "google.test", "", 5)]


def test_addresses_beyond_a_thousand_fold_into_one_row(domain: Domain) -> None:
    details = [
        {
            "result-type": "validation-failure",
            "sending-mta-ip": f"2001:db8::{number:x}",
            "failed-session-count": 1,
        }
        for number in range(1_200)
    ]
    store(arrival(domain, details=details))
    assert DailyFailures.objects.count() == 1_001
    assert DailyFailures.objects.get(sending_ip="").sessions == 200


def test_one_report_spreads_over_few_rows(domain: Domain) -> None:
    details = [
        {
            "result-type": f"result-{number % 30}",
            "receiving-mx-hostname": f"mx{number % 90}.example.test",
            "sending-mta-ip": f"2001:db8::{number % 899:x}",
            "failed-session-count": 1,
        }
        for number in range(9_000)
    ]
    store(arrival(domain, details=details))
    assert 2_000 <= DailyFailures.objects.count() <= 2_100
    assert sum(row[-1] for row in failures()) == 9_000  # type: ignore[misc]
    assert DailyFailures.objects.values("result_type").distinct().count() == 21


def test_policy_types_beyond_ten_fold_into_one_row(domain: Domain) -> None:
    wire = msgspec.convert(report_json(), WireReport)
    invented = [
        msgspec.convert(report_json(policy_type=f"invented-{number}"), WireReport).policies[0]
        for number in range(50)
    ]
    many = msgspec.structs.replace(wire, policies=(*wire.policies, *invented))
    share = OwnedShare(domain.pk, domain.name, tuple(range(51)))
    digest = digest_report(many, b"h" * 32, b"{}", b"[]", [share])
    store(msgspec.structs.replace(arrival(domain), reports=(digest,)))
    assert len(sessions()) == 11
    assert sum(row[3] for row in sessions()) == 51 * 100  # type: ignore[misc]


@pytest.mark.parametrize(
    "day, counted",
    [
        ("2026-11-24", True),
        ("2026-11-26", True),  # the sender's clock or time zone
        ("2026-11-27", False),  # has not come: kept, not counted
        ("2031-01-01", False),
        ("2019-05-05", True),  # imports bring years
    ],
)
def test_a_day_that_has_not_come_is_not_counted(domain: Domain, day: str, counted: bool) -> None:
    store(arrival(domain, day=day))
    assert Report.objects.get().counted is counted
    assert len(sessions()) == counted


def test_text_that_no_column_takes_does_no_harm(domain: Domain) -> None:
    store(arrival(domain, report_id="i\0" * 2_000, organization="ö" * 400, policy_domain="p" * 3_000))
    report = Report.objects.get()
    assert (report.report_id, report.organization_name) == ("i" * 500, "ö" * 255)
    assert report.policy_domains == "p" * 253


def test_what_cannot_be_read_is_kept_in_quarantine(domain: Domain) -> None:
    item = msgspec.structs.replace(
        arrival(domain), reports=(), unreadable=("no-report", "There is no report in it.")
    )
    (stored,) = store(item)
    kept = QuarantinedMessage.objects.get()
    assert stored == Stored(quarantine_id=kept.pk)
    assert (kept.reason, kept.detail, bytes(kept.raw.content)) == (
        "no-report",
        "There is no report in it.",
        b"raw verified",
    )


def test_a_test_report_is_noted_on_its_domain(domain: Domain) -> None:
    store(msgspec.structs.replace(arrival(domain, Judgement(Trust.TEST)), test_domain_id=domain.pk))
    domain.refresh_from_db()
    assert domain.test_report_arrived_at == NOW


def test_only_twenty_copies_are_kept_one_by_one(domain: Domain) -> None:
    for _ in range(3):
        store(*[arrival(domain)] * 10)
    assert (Report.objects.get().copies, Receipt.objects.count()) == (30, 20)


def test_old_and_new_reports_of_many_domains_come_in_one_batch(domain: Domain) -> None:
    items = [arrival(domain, report_id=str(number)) for number in range(1_500)]
    store(*items[:10])
    results = store(*items)
    assert [one.new for one in results] == [0] * 10 + [1] * 1_490
    assert Report.objects.count() == 1_500


@pytest.mark.django_db(transaction=True)
def test_one_that_the_database_refuses_harms_no_other(domain: Domain) -> None:
    gone = msgspec.structs.replace(
        arrival(domain, report_id="gone"), organisation_id=domain.organisation_id + 99
    )
    first, refused, last = store(arrival(domain), gone, arrival(domain, report_id="last"))
    assert (first.new, refused.new, last.new) == (1, 0, 1)
    assert "refused" in refused.refused
    assert Report.objects.count() == 2


def test_copies_received_later_keep_their_order_of_arrival(domain: Domain) -> None:
    store(arrival(domain))
    store(msgspec.structs.replace(arrival(domain), received_at=NOW + timedelta(hours=1), door=Door.HTTPS))
    receipt = Receipt.objects.get()
    assert (receipt.door, receipt.received_at) == ("https", NOW + timedelta(hours=1))


def test_the_mx_hosts_of_a_domain_are_those_last_seen_with_the_aliases_that_they_are(domain: Domain) -> None:
    def lookup(name: str, kind: str, *chain: str) -> Lookup:
        return Lookup(name, kind, Found.FOUND, chain=chain)

    host = MxHost("MX.example.test", lookup("", "A", "real.example.test"), lookup("", "AAAA"))
    facts = Facts(
        domain=Name("example.test"),
        at=NOW,
        validates=True,
        mx=lookup("example.test", "MX"),
        hosts=(host,),
        sts=lookup("", "TXT"),
        elsewhere=(),
        policy_host=PolicyHost(lookup("", "A"), lookup("", "AAAA")),
        tlsrpt=lookup("", "TXT"),
    )
    check = Check.objects.create(
        organisation_id=domain.organisation_id,
        domain=domain,
        first_at=NOW,
        digest=b"",
        facts=pack_facts(facts),
    )
    Watch.objects.create(organisation_id=domain.organisation_id, domain=domain, due_at=NOW, current=check)
    assert mx_of([domain.pk, 7]) == {domain.pk: {"mx.example.test", "real.example.test"}, 7: set()}
