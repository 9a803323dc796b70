"""Daily tables as counted reports leave them, without the reports."""

import itertools
from collections.abc import Iterable
from datetime import date

from mailward.store.models import DailyFailures, DailySessions, Domain, Organisation

_numbers = itertools.count(1)


def make_organisation(name: str = "Example Ltd") -> Organisation:
    return Organisation.objects.create(name=name, report_token=f"o{next(_numbers)}")


def make_domains(organisation: Organisation, names: Iterable[str]) -> list[Domain]:
    rows = [
        Domain(organisation=organisation, name=name, report_token=f"d{next(_numbers)}", claim_token="c")
        for name in names
    ]
    return Domain.objects.bulk_create(rows)


def report_failures(
    domains: Iterable[Domain],
    day: date,
    reporter: str,
    *,
    failed: int = 1,
    ok: int = 99,
    host: str = "mx1.example.net",
    result_type: str = "certificate-expired",
    policy_type: str = "sts",
) -> None:
    """Each of `domains` has `failed` sessions of one cause that day, and `ok` others."""
    domains = list(domains)
    for domain in domains:
        assert failed > 0, domain
    DailyFailures.objects.bulk_create(
        DailyFailures(
            organisation_id=domain.organisation_id,
            domain=domain,
            day=day,
            policy_type=policy_type,
            result_type=result_type,
            host=host,
            reporter=reporter,
            sending_ip="192.0.2.1",
            sessions=failed,
        )
        for domain in domains
    )
    _report(domains, day, reporter, ok, failed, policy_type)


def report_success(
    domains: Iterable[Domain], day: date, reporter: str, *, ok: int = 100, policy_type: str = "sts"
) -> None:
    _report(domains, day, reporter, ok, 0, policy_type)


def _report(
    domains: Iterable[Domain], day: date, reporter: str, ok: int, failed: int, policy_type: str
) -> None:
    DailySessions.objects.bulk_create(
        DailySessions(
            organisation_id=domain.organisation_id,
            domain=domain,
            day=day,
            policy_type=policy_type,
            reporter=reporter,
            ok=ok,
            failed=failed,
            reports=1,
        )
        for domain in domains
    )
