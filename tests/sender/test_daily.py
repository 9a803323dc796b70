"""From counted sessions to a signed mail that a strict receiver believes."""

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

import dkim
import pytest
from tests.fakes.relay import FakeRelay
from tests.sender.reportlab import (
    DAY,
    EXPIRED,
    MORNING,
    STS,
    TLSA,
    ReportLab,
    later,
    ruas,
    tally,
)

from mailward.core.dkim import KeyAnswer, KeyStatus, Result, find_signatures, verify
from mailward.core.tlsrpt.counting import Detail, Origin
from mailward.core.tlsrpt.mail import read_mail
from mailward.core.tlsrpt.reading import check_strict
from mailward.core.tlsrpt.schema import FailureDetail, Policy
from mailward.net import clock
from mailward.sender.dkimkeys import load_key, record_of
from mailward.sender.signalnumbers import Number

FIXTURES = Path(__file__).parents[1] / "fixtures" / "stores"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ReportLab]:
    with FakeRelay() as relay:
        yield ReportLab(tmp_path, relay)


def keys(lab: ReportLab) -> dict[str, bytes]:
    """Name in DNS -> record."""
    selectors = lab.settings.tlsrpt.dkim_selectors
    return {
        f"{each}._domainkey.sender.example": record_of(load_key(lab.folder, each)).encode()
        for each in selectors
    }


async def test_g3_a_counted_day_becomes_a_mail_that_is_verified_and_conforms(lab: ReportLab) -> None:
    lab.make_key("r2026", "rsa")
    lab.make_key("e2026", "ed25519")
    failed = tally(successes=3, failures=2, details=(Detail(EXPIRED, 2),))
    lab.count(failed, tally(policy=TLSA, successes=7))
    await lab.once()
    [mail] = lab.relay.mails
    assert mail.recipients == ("tls@shop.example",)
    found = keys(lab)
    answers = {name: KeyAnswer(KeyStatus.FOUND, (record,)) for name, record in found.items()}
    signatures = find_signatures(mail.content)
    assert [each.has_length for each in signatures] == [False, False]
    for signature in signatures:
        assert verify(mail.content, answers, MORNING, [signature]).result is Result.PASS
    # an independent verifier; it knows Ed25519 only with a library that we do not have
    peer = dkim.DKIM(mail.content, tlsrpt="strict")
    assert peer.verify(1, dnsfunc=lambda name, **_: found[name.decode().rstrip(".")])
    reading = read_mail(mail.content, now=MORNING)
    assert check_strict(reading) == ()
    [report] = reading.reports
    assert [
        (each.policy.policy_type, each.summary.total_successful_session_count) for each in report.policies
    ] == [
        ("sts", 3),
        ("tlsa", 7),
    ]
    assert report.policies[0].policy == STS
    assert (report.organization_name, report.contact_info) == ("Sender Ltd", "tls-reports@sender.example")


async def test_g4_the_mail_asks_for_delivery_whatever_becomes_of_tls(lab: ReportLab) -> None:
    lab.count(tally())
    await lab.once()
    mail = message_from_bytes(lab.relay.mails[0].content, policy=policy.default)
    assert mail["TLS-Required"] == "No"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Mailward-Repeat"] is None


async def test_g7_a_report_covers_the_full_utc_day_and_waits_at_random(lab: ReportLab) -> None:
    lab.changes["spread_minutes"] = 240
    lab.count(*(tally(f"shop{number}.example") for number in range(200)))
    await lab.once()
    start = MORNING.timestamp()
    waits = [each.next_at - start for each in lab.deliveries()]
    assert 0 <= min(waits) < 3600
    assert 3 * 3600 < max(waits) <= 4 * 3600
    await lab.once(MORNING + timedelta(hours=4))
    [report] = read_mail(lab.relay.mails[0].content).reports
    period = report.date_range
    assert (str(period.start_datetime), str(period.end_datetime)) == (
        "2026-11-27 00:00:00+00:00",
        "2026-11-27 23:59:59+00:00",
    )


async def test_nothing_is_reported_before_the_day_has_ended(lab: ReportLab) -> None:
    lab.count(tally())
    midnight = MORNING.replace(hour=0)
    await lab.once(midnight + timedelta(minutes=14))
    assert lab.deliveries() == []
    await lab.once(midnight + timedelta(minutes=15))
    assert len(lab.relay.mails) == 1


async def test_each_missed_day_gets_its_report(lab: ReportLab) -> None:
    for days in range(4):
        lab.count(tally(day=DAY + timedelta(days=days)))
    await lab.once(later(20))
    reported = [read_mail(mail.content).reports[0].day_utc for mail in lab.relay.mails]
    assert sorted(str(day) for day in reported) == [f"2026-11-{day}" for day in (27, 28, 29, 30)]


async def test_a_report_goes_once_to_each_rua_however_often_we_start(lab: ReportLab) -> None:
    lab.count(tally(record=ruas("mailto:a@x.example!10m", "MAILTO:a@X.example", "mailto:b@x.example")))
    for hours in range(5):
        await lab.once(MORNING + timedelta(hours=hours))
    assert sorted(mail.recipients for mail in lab.relay.mails) == [("a@x.example",), ("b@x.example",)]


async def test_sessions_that_were_all_taken_back_are_no_report(lab: ReportLab) -> None:
    lab.count(tally(successes=2), tally(successes=-2), tally("other.example"))
    await lab.once()
    assert [each.domain for each in lab.deliveries()] == ["other.example"]


async def test_a_policy_that_could_not_be_refreshed_is_told_without_a_session(lab: ReportLab) -> None:
    failure = FailureDetail(
        result_type="sts-policy-fetch-error", failure_reason_code="timeout+fallback-to-cached-policy"
    )
    lab.count(tally(successes=0, details=(Detail(failure, 3),))._replace(origin=Origin.DISCOVERY))
    await lab.once()
    reading = read_mail(lab.relay.mails[0].content)
    assert check_strict(reading) == ()
    [result] = reading.reports[0].policies
    assert (result.summary.total_successful_session_count, result.summary.total_failure_session_count) == (
        0,
        0,
    )
    assert [(each.result_type, each.failed_session_count) for each in result.failure_details] == [
        ("sts-policy-fetch-error", 3)
    ]


async def test_what_a_size_hint_allows_is_not_exceeded_and_what_is_cut_is_said(lab: ReportLab) -> None:
    chance = random.Random(1)
    details = tuple(
        Detail(
            type(EXPIRED)(result_type="certificate-expired", receiving_mx_helo=chance.randbytes(20).hex()), 1
        )
        for _ in range(3000)
    )
    record = ruas("mailto:small@x.example!10k", "mailto:large@x.example", "mailto:tiny@x.example!1k")
    lab.count(tally(record=record, failures=3000, details=details))
    await lab.once()
    by_recipient = {mail.recipients[0]: mail.content for mail in lab.relay.mails}
    assert set(by_recipient) == {"small@x.example", "large@x.example"}
    assert len(by_recipient["small@x.example"]) <= 10 * 1024
    for raw in by_recipient.values():
        [report] = read_mail(raw).reports
        [result] = report.policies
        assert sum(each.failed_session_count or 0 for each in result.failure_details) == 3000
        assert b"are put together" in raw
    failed = [each for each in lab.deliveries() if each.state == "failed"]
    assert [(each.rua, "takes no more than 1024 bytes" in each.outcome) for each in failed] == [
        ("mailto:tiny@x.example", True)
    ]


async def test_a_domain_whose_record_names_nobody_is_listed_with_the_reason(lab: ReportLab) -> None:
    lab.count(tally(record="v=TLSRPTv1; rua=ftp://x.example"))
    await lab.once()
    [delivery] = lab.deliveries()
    assert (delivery.state, delivery.outcome) == ("failed", "no usable rua: rua-scheme 'ftp://x.example'")


async def test_what_is_counted_after_its_report_becomes_a_supplement_the_next_day(lab: ReportLab) -> None:
    lab.count(tally(successes=5))
    await lab.once()
    lab.count(tally(successes=2), tally("late.example", record=ruas("mailto:tls@late.example")))
    await lab.once(MORNING + timedelta(hours=1))
    lab.count(tally(successes=1))
    assert len(lab.relay.mails) == 1, "more may come"
    for _ in range(2):
        await lab.once(later(1))
    reports = [read_mail(mail.content).reports[0] for mail in lab.relay.mails]
    assert [
        (each.day_utc, each.policies[0].summary.total_successful_session_count) for each in reports[::2]
    ] == [
        (DAY, 5),
        (DAY, 3),
    ]
    assert reports[2].report_id == f"{reports[0].report_id}.1"
    assert b"This is a supplement" in lab.relay.mails[2].content
    lab.count(tally(successes=8))
    await lab.once(later(2))
    assert [read_mail(mail.content).reports[0].report_id for mail in lab.relay.mails[3:]] == [
        f"{reports[0].report_id}.2"
    ]
    assert check_strict(read_mail(lab.relay.mails[3].content)) == ()


async def test_late_counts_are_not_forgotten_before_they_are_reported(lab: ReportLab) -> None:
    lab.count(tally())
    await lab.once()
    await lab.once(later(10))
    lab.count(tally(successes=3))
    await lab.once(later(10))
    await lab.once(later(11))
    assert len(lab.relay.mails) == 2


async def test_a_crash_after_the_counts_were_closed_loses_none(lab: ReportLab) -> None:
    lab.count(tally(successes=5))
    with lab.daily() as daily:
        daily.counts.close_part(daily.counts.parts()[0])
    lab.count(tally(successes=2))
    await lab.once()
    await lab.once(later(1))
    reports = [read_mail(mail.content).reports[0] for mail in lab.relay.mails]
    assert [each.policies[0].summary.total_successful_session_count for each in reports] == [5, 2]


async def test_reports_of_the_version_before_are_taken_over(lab: ReportLab) -> None:
    for name, path in (
        ("counts-1.sql", lab.settings.tlsrpt_counts_path),
        ("reports-1.sql", lab.settings.tlsrpt_reports_path),
    ):
        old = sqlite3.connect(path)
        old.executescript((FIXTURES / name).read_text())
        old.close()
    await lab.once()
    assert lab.relay.mails == [], "they went before"
    assert lab.states() == {"mailto:tls@shop.example": "delivered", "mailto:b@shop.example": "failed"}
    with lab.daily() as daily:
        kept = daily.store.content(lab.deliveries()[0])
    assert kept is not None
    assert kept.report_id in (FIXTURES / "reports-1.sql").read_text()
    lab.count(tally(successes=4))
    await lab.once(later(1))
    [mail] = lab.relay.mails
    assert read_mail(mail.content).reports[0].policies[0].summary.total_successful_session_count == 4


async def test_made_again_a_report_has_the_same_id_and_bytes(lab: ReportLab, tmp_path: Path) -> None:
    lab.folder = tmp_path / "store"
    lab.count(tally(), tally(policy=TLSA))
    with lab.daily():
        pass  # the store is there, and nothing is made
    made = []
    for name in ("first", "second"):
        again = ReportLab(shutil.copytree(lab.folder, tmp_path / name), lab.relay)
        await again.once()
        with again.daily() as daily:
            content = daily.store.content(again.deliveries()[0])
        made.append(content)
    assert made[0] == made[1]


async def test_two_machines_under_one_contact_give_their_reports_ids_of_their_own(
    lab: ReportLab, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        machine = ReportLab(tmp_path / name, lab.relay)
        machine.count(tally(), tally(day=DAY + timedelta(days=1)))
        for days in range(2):
            await machine.once(later(days))
    ids = {read_mail(mail.content).reports[0].report_id for mail in lab.relay.mails}
    assert len(ids) == len(lab.relay.mails) == 4


async def test_the_counts_are_kept_for_three_days_and_the_reports_for_thirty(lab: ReportLab) -> None:
    lab.count(tally(), tally(day=DAY + timedelta(days=1)))
    await lab.once(later(1))
    with lab.daily() as daily:
        assert daily.counts.days() == [DAY, DAY + timedelta(days=1)]
    await lab.once(later(2))
    with lab.daily() as daily:
        assert daily.counts.days() == [DAY + timedelta(days=1)]
    await lab.once(later(40))
    assert lab.deliveries() == []


async def test_what_waits_for_a_week_is_given_up_and_forgotten_in_the_end(lab: ReportLab) -> None:
    lab.changes["smtp_port"] = 9  # nobody takes report mail
    lab.count(tally())
    for days, states in ((0, ["waiting"]), (6.9, ["waiting"]), (7.1, ["failed"]), (29, ["failed"]), (31, [])):
        await lab.once(later(days))
        assert [each.state for each in lab.deliveries()] == states, days
        if days == 7.1:
            assert lab.deliveries()[0].outcome.startswith("given up after 7 days; before: ")


async def test_what_was_given_up_untried_suppresses_no_rua(lab: ReportLab) -> None:
    lab.changes |= {"smtp_port": 9, "suppress_after_days": 2}  # nobody takes report mail
    for days in range(12):
        lab.count(tally(day=DAY + timedelta(days=days)))
        await lab.once(later(days))
    lab.changes["smtp_port"] = lab.relay.port
    await lab.once(later(12))
    states = Counter(each.state for each in lab.deliveries())
    assert states == {"failed": 5, "delivered": 7}


async def test_a_day_that_has_not_ended_waits_whatever_the_clock_said_when_it_was_counted(
    lab: ReportLab,
) -> None:
    lab.count(tally(day=DAY + timedelta(days=300)), tally())
    await lab.once()
    assert len(lab.relay.mails) == 1


async def test_no_policy_names_nothing_of_one(lab: ReportLab) -> None:
    odd = Policy(policy_type="no-policy-found", policy_domain="shop.example", policy_string=("x",))
    lab.count(tally(policy=odd))
    await lab.once()
    reading = read_mail(lab.relay.mails[0].content)
    assert reading.deviations == ()


async def test_metrics_tell_what_was_made_and_what_became_of_it(lab: ReportLab) -> None:
    lab.relay.refuse_recipient = "tls@b.example"
    lab.count(tally(), tally("b.example", record=ruas("mailto:tls@b.example")))
    with clock.frozen(MORNING), lab.daily() as daily:
        daily.start()
        await daily.run_once()
        await daily.make()
        numbers = [
            daily.numbers.get(each)
            for each in (
                Number.REPORTS_MADE,
                Number.REPORTS_DELIVERED,
                Number.REPORTS_FAILED,
                Number.REPORTS_WAITING,
            )
        ]
    assert numbers == [2, 1, 1, 0]
