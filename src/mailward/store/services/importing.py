"""Imports of many domains: kept row by row, looked at, and carried out in batches, so that one that dies goes on."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet

from mailward.core.importing.listing import Listing, Wish
from mailward.core.importing.verdict import ADDED, Decision, Verdict
from mailward.core.mtasts.policy import Mode, Policy, PolicyInvalid, serialise_policy
from mailward.core.names import Domain as Name
from mailward.net import clock
from mailward.store.models import Domain, DomainImport, ImportRow, ImportState, ProfileMember
from mailward.store.queries.evidence import chunks
from mailward.store.scope import Scope
from mailward.store.services import automatic, outbox
from mailward.store.services.automatic import Choice
from mailward.store.services.bulk_policies import Wanted, publish_policies
from mailward.store.services.domains import make_domains

KIND = "import"
"""Of the outbox: the keys are ids of imports."""
LOOKED_AT_ONCE = 100
BATCH = 250
_UNLOOKED = ""
_TAKEN_OVER = timedelta(hours=2)
"""So long a command may take to carry an import out: then it was killed."""


DRY_RUN_LASTS = timedelta(days=1)
"""What was seen to be live elsewhere may be another policy, or none, later: serving the old one would lock mail out."""
MAX_OPEN = 10
"""Imports of an organisation that are not done or dropped: each may have a row for every domain of a long list."""
_KEEP = timedelta(days=90)
"""So long what became of each row can be read."""
_SWEPT_AT_ONCE = 50


class TooManyImports(Exception):
    """The organisation has MAX_OPEN already."""


class ImportEmpty(Exception):
    """The list names no domain."""


@transaction.atomic
def begin(
    organisation_id: int,
    author_id: int | None,
    listing: Listing,
    source: str,
    profile_id: int | None = None,
    *,
    for_worker: bool = True,
) -> DomainImport:
    """Keep the list, to be looked at: nothing is added yet. Without `for_worker` the caller does the work. Raises
    ImportEmpty, TooManyImports.
    """
    if not listing.wishes and not listing.refused:
        raise ImportEmpty
    # of two at once both may come in: it is a bound and no balance
    if _open_imports().filter(organisation_id=organisation_id).count() >= MAX_OPEN:
        raise TooManyImports
    made = DomainImport.objects.create(
        organisation_id=organisation_id,
        author_id=author_id,
        profile_id=profile_id,
        source=source[:200],
        state=ImportState.LOOKING,
    )
    rows = [_row_of(made, number, wish) for number, wish in enumerate(listing.wishes, 1)]
    rows += [
        ImportRow(
            organisation_id=organisation_id,
            batch=made,
            number=number,
            where=each.where[:120],
            name=each.text[:253],
            verdict=Verdict.UNREADABLE,
            reason=each.reason[:500],
        )
        for number, each in enumerate(listing.refused, len(rows) + 1)
    ]
    for chunk in chunks(rows):
        ImportRow.objects.bulk_create(chunk)
    if for_worker:
        outbox.put(KIND, str(made.pk))
    return made


def _row_of(made: DomainImport, number: int, wish: Wish) -> ImportRow:
    policy = wish.policy
    return ImportRow(
        organisation_id=made.organisation_id,
        batch=made,
        number=number,
        where=wish.where[:120],
        name=wish.name,
        mx=list(wish.mx),
        mode=policy.mode.value if policy else "",
        max_age_seconds=policy.max_age_seconds if policy else None,
        extensions=_kept_extensions(policy),
        automatic_days=wish.automatic_days,
    )


def _open_imports() -> QuerySet[DomainImport]:
    return DomainImport.objects.exclude(state__in=(ImportState.DONE, ImportState.DROPPED))


def sweep() -> None:
    """Forget imports that are over, or that nobody went on with; a few at a time, for each may have many rows."""
    old = DomainImport.objects.filter(created_at__lt=clock.now() - _KEEP).exclude(state=ImportState.RUNNING)
    for import_id in list(old.order_by("created_at").values_list("pk", flat=True)[:_SWEPT_AT_ONCE]):
        with transaction.atomic():
            ImportRow.objects.filter(batch_id=import_id).delete()
            DomainImport.objects.filter(pk=import_id).delete()


def go_on_later(import_id: int) -> None:
    """Others have their turn first."""
    outbox.put(KIND, str(import_id))


def state_of(import_id: int) -> str | None:
    return DomainImport.objects.filter(pk=import_id).values_list("state", flat=True).first()


def next_wishes(import_id: int) -> tuple[dict[int, Wish], frozenset[str]]:
    """The next rows to look at, by number, and which of their domains the organisation has already. None of an import
    that was dropped.
    """
    left = ImportRow.objects.filter(
        batch_id=import_id, batch__state=ImportState.LOOKING, verdict=_UNLOOKED
    ).order_by("number")
    rows = list(left[:LOOKED_AT_ONCE])
    if not rows:
        return {}, frozenset()
    there = Domain.objects.filter(
        organisation_id=rows[0].organisation_id, name__in=[row.name for row in rows]
    )
    return {row.number: _wish_of(row) for row in rows}, frozenset(there.values_list("name", flat=True))


def _wish_of(row: ImportRow) -> Wish:
    mx = tuple(row.mx)
    return Wish(Name(row.name), row.where, mx, _policy_of(row))


def _policy_of(row: ImportRow) -> Policy | None:
    if not row.mode or row.max_age_seconds is None:
        return None
    mx = () if row.mode == Mode.NONE else tuple(row.mx)
    extensions = tuple((name, value) for name, value in row.extensions or ())
    return Policy(Mode(row.mode), row.max_age_seconds, mx, extensions)


def _kept_extensions(policy: Policy | None) -> list[list[str]] | None:
    pairs = policy.extensions if policy is not None else ()
    return [list(pair) for pair in pairs] or None


@transaction.atomic
def keep_decisions(import_id: int, decisions: Mapping[int, Decision]) -> None:
    for number, each in decisions.items():
        values: dict[str, object] = {"verdict": each.verdict.value, "reason": each.reason[:500]}
        if each.policy is not None:
            values |= {
                "mode": each.policy.mode.value,
                "max_age_seconds": each.policy.max_age_seconds,
                "mx": list(each.policy.mx),
                "extensions": _kept_extensions(each.policy),
            }
        ImportRow.objects.filter(batch_id=import_id, number=number).update(**values)


def end_looking(import_id: int) -> None:
    DomainImport.objects.filter(pk=import_id, state=ImportState.LOOKING).update(state=ImportState.PLANNED)


@transaction.atomic
def start(organisation_id: int, import_id: int, *, for_worker: bool = True) -> bool:
    """Carry the dry run out. False: it is in no state for that, or too old. Without `for_worker` the caller does it,
    and a worker what it left undone.
    """
    rows = DomainImport.objects.filter(
        pk=import_id,
        organisation_id=organisation_id,
        state=ImportState.PLANNED,
        created_at__gt=clock.now() - DRY_RUN_LASTS,
    )
    if not rows.update(state=ImportState.RUNNING):
        return False
    outbox.put(KIND, str(import_id), available_at=clock.now() + (timedelta() if for_worker else _TAKEN_OVER))
    return True


@transaction.atomic
def look_again(scope: Scope, import_id: int) -> bool:
    """At the rows that would come in without a policy: what DNS or another server did not say before, it may say now.
    False: there are none, or the dry run is none any more.
    """
    made = scope.domain_imports().select_for_update().filter(pk=import_id, state=ImportState.PLANNED).first()
    if made is None:
        return False
    rows = made.rows.filter(verdict=Verdict.WITHOUT_POLICY)
    if not rows.update(verdict=_UNLOOKED, reason=""):
        return False
    scope.domain_imports().filter(pk=import_id).update(state=ImportState.LOOKING)
    outbox.put(KIND, str(import_id))
    return True


def drop(scope: Scope, import_id: int) -> bool:
    rows = scope.domain_imports().filter(pk=import_id, state__in=(ImportState.LOOKING, ImportState.PLANNED))
    return bool(rows.update(state=ImportState.DROPPED))


def carry_out_some(import_id: int) -> bool:
    """Add the next domains, with their tokens and policies. False: that was all."""
    running = DomainImport.objects.select_related("profile").filter(state=ImportState.RUNNING)
    made = running.filter(pk=import_id).first()
    if made is None:
        return False
    left = made.rows.filter(verdict__in=[each.value for each in ADDED], done_at__isnull=True)
    rows = list(left.order_by("number")[:BATCH])
    if not rows:
        DomainImport.objects.filter(pk=import_id).update(state=ImportState.DONE, finished_at=clock.now())
        return False
    _add(made, rows)
    return True


def say_automatic(row: ImportRow) -> str:
    """What the list says of enforcing by itself; empty: nothing, so that the profile decides where there is one."""
    days = row.automatic_days
    if days is None or row.verdict not in ADDED:
        return ""
    return str(Choice(is_automatic=bool(days), hold_days=days))


def _choose(made: DomainImport, rows: Sequence[ImportRow], added: Mapping[str, int]) -> None:
    """Which of the added domains are enforced by themselves: what the list says goes before the profile."""
    ids: dict[tuple[Choice, str], list[int]] = defaultdict(list)
    of_profile = automatic.choice_of(made.profile) if made.profile is not None else None
    for row in rows:
        if row.name not in added:
            continue
        if row.automatic_days:
            reason = f"Imported: {made.source}"
            ids[Choice(True, row.automatic_days), reason].append(added[row.name])
        elif row.automatic_days is None and of_profile is not None and made.profile is not None:
            ids[of_profile, automatic.of_profile(made.profile)].append(added[row.name])
    for (choice, reason), some in ids.items():
        automatic.keep(made.organisation_id, some, choice, author_id=made.author_id, reason=reason)


@transaction.atomic
def _add(made: DomainImport, rows: Sequence[ImportRow]) -> None:
    """In one transaction: what it leaves half done was never begun."""
    names = [Name(row.name) for row in rows]
    there = dict(
        Domain.objects.filter(organisation_id=made.organisation_id, name__in=names).values_list("name", "pk")
    )
    new = make_domains(made.organisation_id, [name for name in names if name not in there])
    added = {domain.name: domain for domain in new}
    wanted: list[Wanted] = []
    unusable: dict[str, str] = {}
    for row in rows:
        domain = added.get(row.name)
        if domain is not None and (policy := _policy_of(row)) is not None:
            try:
                serialise_policy(policy)
            except PolicyInvalid as error:
                # as where its hosts are more than a policy has room for: the others are not held up
                unusable[row.name] = f"Added without its policy: {error}"
            else:
                wanted.append(Wanted(domain.pk, policy, 0))
    publish_policies(
        made.organisation_id, wanted, author_id=made.author_id, reason=f"Imported: {made.source}"
    )
    if made.profile_id is not None:
        ProfileMember.objects.bulk_create(
            (
                ProfileMember(
                    domain_id=domain.pk, profile_id=made.profile_id, organisation_id=made.organisation_id
                )
                for domain in new
            ),
            ignore_conflicts=True,
        )
    _choose(made, rows, {name: domain.pk for name, domain in added.items()})
    now = clock.now()
    for row in rows:
        values: dict[str, object] = {"done_at": now, "domain_id": there.get(row.name)}
        if row.name in added:
            values["domain_id"] = added[row.name].pk
        else:
            values |= {"verdict": Verdict.THERE.value, "reason": "Somebody added it meanwhile."}
        if row.name in unusable:
            values |= {"verdict": Verdict.WITHOUT_POLICY.value, "reason": unusable[row.name][:500]}
        made.rows.filter(number=row.number).update(**values)
