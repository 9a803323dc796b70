"""Whatever comes in which order, the daily tables say what a recount of the counted reports says."""

import json
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.fakes.signer import google_mail, report_json

from mailward.core.tlsrpt.limits import DEFAULT_LIMITS
from mailward.ingest.accept import Arrival, read_arrival
from mailward.ingest.addresses import ReportAddress, address_of_domain, address_of_organisation
from mailward.store.models import (
    DailyFailures,
    DailySessions,
    Domain,
    Door,
    Organisation,
    Report,
    Trust,
)
from mailward.store.services.incoming import COUNTED_TRUST, Incoming, Judgement, ShareDigest
from mailward.store.services.judging import settle_pending
from mailward.store.services.reports import store_batch

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
NAMES = ("a.test", "b.test")
JUDGEMENTS = (
    Judgement(Trust.FAILED, "fail"),
    Judgement(Trust.UNVERIFIED, "absent"),
    Judgement(Trust.PENDING, "temporary"),
    Judgement(Trust.VOUCHED_PERSON),
    Judgement(Trust.VOUCHED_RELAY, "absent", "", "google.test"),
    Judgement(Trust.VERIFIED, "pass", "valid", "google.test"),
    Judgement(Trust.VERIFIED, "pass", "valid", "mail.google.test"),
)
SETTLED = tuple(one for one in JUDGEMENTS if one.trust is not Trust.PENDING)


def entry(dice: random.Random) -> dict[str, Any]:
    kind = dice.choice(("sts", "tlsa", "no-policy-found"))
    name = dice.choice((*NAMES, "elsewhere.test"))
    (made,) = report_json(
        f"mx.{name}" if kind == "tlsa" and dice.random() < 0.7 else name,
        policy_type=kind,
        successful=dice.choice((None, 0, 5, 100)),
        failed=dice.choice((None, 0, 2)),
    )["policies"]
    return dict(made)


def contents(dice: random.Random) -> list[dict[str, Any]]:
    """A few reports, so that the same comes again and again."""
    return [
        report_json(day=dice.choice(("2026-11-22", "2026-11-23", "2026-11-30")))
        | {"policies": [entry(dice) for _ in range(dice.randrange(1, 5))]}
        for _ in range(4)
    ]


def address(dice: random.Random, organisation: Organisation) -> ReportAddress:
    domain = Domain.objects.filter(name=dice.choice((*NAMES, ""))).first()
    return address_of_domain(domain) if domain else address_of_organisation(organisation.pk)


def arrival(dice: random.Random, organisation: Organisation, report: dict[str, Any]) -> Incoming:
    door = dice.choice((Door.SMTP, Door.UPLOAD))
    # spacing is no content, and neither is the header of the mail around it
    raw = json.dumps(report, indent=dice.choice((None, 2))).encode()
    if door is Door.SMTP:
        raw = google_mail(report, report_domain=dice.choice((*NAMES, "elsewhere.test")))
        if dice.random() < 0.5:
            raw = raw.replace(b"TLS-Report-Domain:", b"X-Other:")
    draft = read_arrival(Arrival(door, address(dice, organisation), raw, NOON), DEFAULT_LIMITS)
    assert draft.unreadable is None
    return draft.judged(dice.choice(JUDGEMENTS))


def step(dice: random.Random, organisation: Organisation, reports: list[dict[str, Any]]) -> None:
    chance = dice.random()
    pending = Report.objects.filter(trust=Trust.PENDING).values_list("id", flat=True)
    if chance < 0.2 and pending:
        settle_pending(dice.choice(list(pending)), dice.choice(SETTLED))
    elif chance < 0.23:
        domain = Domain.objects.get(name=dice.choice(NAMES))
        domain.delete()
        make_domain(organisation, domain.name)
    else:
        number = dice.choice((1, 1, 2, 5))
        store_batch([arrival(dice, organisation, dice.choice(reports)) for _ in range(number)])


def make_domain(organisation: Organisation, name: str) -> Domain:
    token = f"{name}-{Domain.objects.count()}"
    return Domain.objects.create(organisation=organisation, name=name, report_token=token, claim_token="c")


def booked(report: Report) -> ShareDigest:
    """What the report's own bytes say of its domain, read and routed anew."""
    domain = report.address_domain
    to = address_of_domain(domain) if domain else address_of_organisation(report.organisation_id)
    draft = read_arrival(
        Arrival(Door(report.raw.door), to, bytes(report.raw.content), report.received_at), DEFAULT_LIMITS
    )
    (read,) = draft.reports
    (share,) = [share for share in read.shares if share.domain_id == report.domain_id]
    return share


def recount() -> tuple[Counter[tuple[object, ...]], Counter[tuple[object, ...]]]:
    """Sessions (successful, failed, reports) and failures, from the rows of the counted reports."""
    sessions: Counter[tuple[object, ...]] = Counter()
    failures: Counter[tuple[object, ...]] = Counter()
    for report in Report.objects.filter(counted=True).select_related("raw", "address_domain"):
        assert report.trust in COUNTED_TRUST
        share = booked(report)
        assert (report.ok, report.failed) == (share.ok, share.failed)
        place = (report.domain_id, report.day)
        for kind, ok, failed in share.sessions:
            for what, number in (("ok", ok), ("failed", failed), ("reports", 1)):
                sessions[(*place, kind, report.reporter, what)] += number
        for kind, result, host, ip, number in share.failures:
            failures[(*place, kind, result, host, report.reporter, ip)] += number
    return sessions, failures


def tables() -> tuple[dict[tuple[object, ...], int], dict[tuple[object, ...], int]]:
    sessions: dict[tuple[object, ...], int] = {
        (row.domain_id, row.day, row.policy_type, row.reporter, what): getattr(row, what)
        for row in DailySessions.objects.all()
        for what in ("ok", "failed", "reports")
    }
    failures: dict[tuple[object, ...], int] = {
        (row.domain_id, row.day, row.policy_type, row.result_type, row.host, row.reporter, row.sending_ip): (
            row.sessions
        )
        for row in DailyFailures.objects.all()
    }
    return sessions, failures


@pytest.mark.parametrize("seed", range(60))
def test_the_daily_tables_are_what_a_recount_gives(organisation: Organisation, seed: int) -> None:
    dice = random.Random(seed)
    for name in NAMES:
        make_domain(organisation, name)
    reports = contents(dice)
    for _ in range(dice.randrange(5, 25)):
        step(dice, organisation, reports)
        assert tables() == recount()


def test_an_upgrade_takes_back_what_was_booked_and_no_more(organisation: Organisation) -> None:
    """The address and TLS-Report-Domain decide whose a `tlsa` entry is: a later copy may hold more."""
    domain, _ = (make_domain(organisation, name) for name in NAMES)
    entries = [*(report_json(name)["policies"][0] for name in NAMES), tlsa := tlsa_entry()]
    other = report_json(report_id="other") | {"policies": [report_json("a.test")["policies"][0], tlsa]}
    both = report_json() | {"policies": entries}
    by_hand, signed = Judgement(Trust.VOUCHED_PERSON), JUDGEMENTS[-1]
    for report, to, judgement in (
        (other, address_of_domain(domain), by_hand),
        (both, address_of_organisation(organisation.pk), by_hand),
        (both, address_of_domain(domain), signed),
    ):
        draft = read_arrival(Arrival(Door.UPLOAD, to, msgspec.json.encode(report), NOON), DEFAULT_LIMITS)
        store_batch([draft.judged(judgement)])
    assert tables() == recount()


def tlsa_entry() -> dict[str, Any]:
    (made,) = report_json("mx.provider.test", policy_type="tlsa", successful=7, failed=0)["policies"]
    return dict(made)
