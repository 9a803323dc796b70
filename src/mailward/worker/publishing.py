"""What domains should publish and how it stands, for many at once: from what the last checks saw, not from DNS."""

from collections.abc import Iterator

from django.db.models import QuerySet

from mailward.config import Settings
from mailward.monitor.records import RecordKey, expected_records
from mailward.monitor.writing import Line
from mailward.store.models import Domain, RecordCheck
from mailward.worker.records import known, read_facts

_AT_ONCE = 500


def lines_of(settings: Settings, domains: QuerySet[Domain], *, only_open: bool = False) -> Iterator[Line]:
    """By name. `only_open`: without records that are right."""
    after = ""
    while chunk := list(known(domains.filter(name__gt=after)).order_by("name")[:_AT_ONCE]):
        after = chunk[-1].name
        checks = {
            (check.domain_id, check.record): check
            for check in RecordCheck.objects.filter(domain_id__in=[domain.pk for domain in chunk])
        }
        for domain in chunk:
            for line in _lines(settings, domain, checks):
                if line.is_open or not only_open:
                    yield line


def _lines(settings: Settings, domain: Domain, checks: dict[tuple[int, str], RecordCheck]) -> Iterator[Line]:
    facts = read_facts(settings, domain)
    for record in expected_records(facts):
        # a CNAME to the domain's own label proves it as well
        is_needless = record.key is RecordKey.CLAIM and (facts.delegation or domain.claim_verified_at)
        if is_needless or not record.recommended.value:
            continue
        check = checks.get((domain.pk, record.key.value))
        if check is None:
            yield Line(domain.name, record)
        else:
            asked = check.checked_at.isoformat(timespec="seconds")
            yield Line(domain.name, record, check.state, check.detail, tuple(check.observed), asked)
