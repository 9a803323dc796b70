"""Records that were right once and are not any more become problems, and end them."""

import re
from collections.abc import Iterable

from django.db import transaction

from mailward.config import Problems as Rules
from mailward.core.explain.upkeep import OF_RECORD, SERVERS, SIGNATURES, UPKEEP
from mailward.core.watch.standing import Step
from mailward.core.watch.upkeep import ID_FOLLOWS, IN_FRONT, Upkeep, advance
from mailward.net import clock
from mailward.store.models import Domain, PolicyVersion, ProblemDomain, RecordCheck
from mailward.store.queries.domains import is_served
from mailward.store.services.findings import Cause, leave_causes, open_cause
from mailward.store.services.leaving import OF_POLICY, has_left
from mailward.store.services.policies import ANNOUNCEMENT
from mailward.store.services.problems import close_gone

_ID = re.compile(r"\bid=([A-Za-z0-9]{1,32})")  # RFC 8461 section 3.1


@transaction.atomic
def settle_records(domain_id: int, asked: Iterable[str], rules: Rules) -> bool:
    """Bring the problems of a domain's records up to date with a look that has just been kept. `asked`: the keys of the
    records that it asked for. True: look again soon.
    """
    rows = Domain.objects.select_for_update(of=("self",)).select_related(
        "announced_version", "current_version"
    )
    domain = rows.filter(pk=domain_id).first()
    if domain is None:
        return False
    watched = set(asked) & set(OF_RECORD)
    if has_left(domain):
        # whoever was told to remove them hears nothing of their absence
        for record in OF_POLICY:
            close_gone(leave_causes(domain.pk, f"{record}.{domain.name}", [OF_RECORD[record]]))
        RecordCheck.objects.filter(domain=domain, record__in=OF_POLICY).update(
            was_right=False, missed=0, is_told=False
        )
        watched -= set(OF_POLICY)
    if not is_served(domain):
        return False
    is_pending = False
    for check in RecordCheck.objects.filter(domain=domain, record__in=watched):
        is_pending |= _settle(domain, check, rules)
    return is_pending


def _settle(domain: Domain, check: RecordCheck, rules: Rules) -> bool:
    before = Upkeep(check.was_right, check.missed, check.is_told)
    state = "right" if _has_moved(domain, check) else check.state
    after, step = advance(before, state, is_settling=_is_settling(domain, check.record))
    cause = OF_RECORD[check.record]
    host = domain.name if cause in (SERVERS, SIGNATURES) else f"{check.record}.{domain.name}"
    if step is Step.OPEN and _is_told_otherwise(domain.pk, host):
        return False  # one cause, one message: our probes tell of it already
    if step is Step.OPEN:
        open_cause(Cause(domain.organisation_id, domain.pk, cause, host), rules)
    elif step is Step.CLOSE:
        close_gone(leave_causes(domain.pk, host, [cause]))
    if after != before:
        RecordCheck.objects.filter(pk=check.pk).update(
            was_right=after.was_right, missed=after.missed, is_told=after.is_told
        )
    return after.is_pending


def _is_settling(domain: Domain, record: str) -> bool:
    if record != ANNOUNCEMENT:
        return False
    version = domain.announced_version
    return version is None or clock.now() - version.created_at < ID_FOLLOWS


def _has_moved(domain: Domain, check: RecordCheck) -> bool:
    """To another provider, step by step (docs/leaving.md): their host serves this very policy, and the record has an id
    that never was one of ours. A host in front of ours has an id of ours, though perhaps an old one.
    """
    if check.record != ANNOUNCEMENT or check.state != "wrong":
        return False
    ids = {each for text in check.observed for each in _ID.findall(str(text))}
    if not ids or PolicyVersion.objects.filter(domain=domain, policy_id__in=ids).exists():
        return False
    return RecordCheck.objects.filter(
        domain=domain, record="mta-sts", state="right", detail=IN_FRONT
    ).exists()


def _is_told_otherwise(domain_id: int, host: str) -> bool:
    rows = ProblemDomain.objects.filter(
        domain_id=domain_id, problem__host=host, problem__closed_at__isnull=True, gone_at__isnull=True
    )
    return rows.exclude(problem__result_type__in=UPKEEP).exists()
