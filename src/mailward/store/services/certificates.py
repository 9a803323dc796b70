"""Certificates: what is due, orders from their first line to their end, and what came of them.

One order a name at a time, written down before it is placed: whoever is killed on the way leaves a row that says how
far it got, and nobody places a second one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet

from mailward.config import Problems as Rules
from mailward.core.acme.challenge import DNS_01
from mailward.core.acme.faults import (
    LONGEST_WAIT,
    Fault,
    still_waits,
    told_wait,
    wait_for_answer,
    wait_for_ca,
)
from mailward.core.acme.lane import IDLE, LOOK_AGAIN, WINDOW, Line, last_order_at
from mailward.core.acme.renewal import Renewal, Why, last_days_begin
from mailward.core.acme.state import CareState
from mailward.core.explain.hosting import CERTIFICATE_ENDED, CERTIFICATE_LAST_DAYS, OF_STATE
from mailward.net import clock
from mailward.store.models import (
    AcmeAccount,
    AcmeOrder,
    Certificate,
    CertificateCare,
    CertificateSequence,
    Domain,
    OwnNameCare,
)
from mailward.store.models.certificates import Care
from mailward.store.queries.certificates import counted_orders
from mailward.store.queries.evidence import chunks
from mailward.store.scope import Scope
from mailward.store.services import outbox
from mailward.store.services.findings import Cause, leave_causes, open_cause
from mailward.store.services.hosting import OWN_NAMES, bump_generation, tell_nodes
from mailward.store.services.leaving import has_left
from mailward.store.services.problems import close_gone
from mailward.store.tokens import make_claim_token

KIND = "certificate"
Subject = int | str
"""Whose certificate: a domain's, by its id, or that of a name of the installation's own. In the queue, as text."""
_SOON = timedelta(minutes=2)
"""What is due so soon waits in the queue itself; all else in the table, where the timer finds it."""
_NEW_WAITS = timedelta(hours=1)
_KEEP_ORDERS = timedelta(days=30)
_KEEP_CERTIFICATES = timedelta(days=30)
"""After their end."""


class Trouble(NamedTuple):
    """How a name fares at one CA."""

    failures: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be known before anything is done for a certificate."""

    subject: Subject
    organisation_id: int | None
    """None: of a name of our own."""
    name: str
    host: str
    delegation_token: str
    is_proved: bool
    directory: str
    profile: str
    state: CareState
    detail: str
    waiting_since: datetime
    renew_at: datetime | None
    ask_at: datetime | None
    troubles: Mapping[str, Trouble]
    current: Certificate | None
    order: AcmeOrder | None
    dns_word: str = ""
    """What our nameserver shows for the domain while no CA asks; empty: nothing."""
    is_suggested: bool = False
    """The renewal's time is the CA's own suggestion."""
    silent_address: str = ""
    """See Care."""
    silent_until: datetime | None = None
    """Before that no CA is asked again, though the address answers."""
    has_left: bool = False
    """MTA-STS: that the name leads here no more was asked for."""

    @property
    def domain_id(self) -> int | None:
        return self.subject if isinstance(self.subject, int) else None


@dataclass(frozen=True, slots=True)
class Authority:
    """What we know of a CA."""

    directory: str
    account: AcmeAccount | None
    placed: tuple[datetime, ...]
    """When orders of the last WINDOW and IDLE were placed; see `counted_orders`."""


def plan_new() -> int:
    """Take care of the certificates of domains that are new. Returns how many."""
    missing = list(
        Domain.objects.filter(certificate_care__isnull=True).values_list("id", "organisation_id")[:5_000]
    )
    now = clock.now()
    rows = [
        CertificateCare(domain_id=pk, organisation_id=organisation, due_at=now, waiting_since=now)
        for pk, organisation in missing
    ]
    for chunk in chunks(rows):
        CertificateCare.objects.bulk_create(chunk, ignore_conflicts=True)
    return len(missing)


def put_due(limit: int) -> int:
    """Ask for the work on certificates that is due, at most `limit`, the longest waiting first."""
    now = clock.now()
    # the second: by a clock that was wrong, as is what waits in the queue for so long
    is_due = Q(due_at__lte=now) | Q(due_at__gt=now + LONGEST_WAIT)
    until = now + LONGEST_WAIT
    own = (
        OwnNameCare.objects.filter(is_due).exclude(outbox.waiting_for(KIND, "host", until)).order_by("due_at")
    )
    due = CertificateCare.objects.filter(is_due).exclude(outbox.waiting_for(KIND, "domain_id", until))
    keys = [
        *own.values_list("host", flat=True)[:limit],
        *map(str, due.order_by("due_at").values_list("domain_id", flat=True)[:limit]),
    ]
    outbox.put_many(outbox.Item(KIND, key) for key in keys)
    return len(keys)


def read_subject(key: str) -> Subject:
    """As the queue has it. A name of ours has a dot."""
    return int(key) if key.isdecimal() else key


def _cares(subject: Subject) -> QuerySet[CertificateCare] | QuerySet[OwnNameCare]:
    if isinstance(subject, int):
        return CertificateCare.objects.filter(domain_id=subject)
    return OwnNameCare.objects.filter(host=subject)


def _subject_of(order: AcmeOrder) -> Subject:
    return order.host if order.domain_id is None else order.domain_id


@transaction.atomic
def hasten(domain_id: int) -> None:
    """Somebody is at it: look after the domain's certificate now, and often for a while, as if it were new.

    What a CA has said about waiting still holds.
    """
    now = clock.now()
    care = CertificateCare.objects.filter(domain_id=domain_id)
    care.update(due_at=now)
    # who waits for a place keeps it
    care.exclude(waiting_since=None).exclude(state=CareState.QUEUED).update(waiting_since=now)
    outbox.put(KIND, str(domain_id))


@transaction.atomic
def choose(scope: Scope, domain_id: int, directory: str, profile: str) -> None:
    """Which CA is asked first for the domain, and for which kind of certificate; from the next order on."""
    domain = scope.domains().get(pk=domain_id)
    now = clock.now()
    care, _ = CertificateCare.objects.get_or_create(
        domain=domain,
        defaults={"organisation_id": domain.organisation_id, "due_at": now, "waiting_since": now},
    )
    if (care.directory, care.profile) != (directory, profile):
        care.directory, care.profile, care.failures = directory, profile, {}
        care.save(update_fields=["directory", "profile", "failures"])
        hasten(domain_id)


@transaction.atomic
def plan_of(subject: Subject) -> Plan | None:
    """None: the domain is gone, or the name is ours no more."""
    now = clock.now()
    orders = AcmeOrder.objects.select_related("account").filter(ended_at=None)
    care: CertificateCare | OwnNameCare | None
    if isinstance(subject, str):
        care = OwnNameCare.objects.select_related("current").filter(host=subject).first()
        order = orders.filter(domain=None, host=subject).first()
        # the settings say that it is ours
        whose = (subject, None, subject, subject, "", True)
        return None if care is None else _plan(whose, care, order, now)
    domain = Domain.objects.filter(pk=subject).first()
    if domain is None:
        return None
    care, _ = CertificateCare.objects.select_related("current").get_or_create(
        domain_id=subject,
        defaults={"organisation_id": domain.organisation_id, "due_at": now, "waiting_since": now},
    )
    order = orders.filter(domain_id=subject).first()
    proved = domain.claim_verified_at is not None
    host, token = f"mta-sts.{domain.name}", domain.delegation_token
    plan = _plan((subject, domain.organisation_id, domain.name, host, token, proved), care, order, now)
    return replace(plan, has_left=has_left(domain))


_Whose = tuple[Subject, int | None, str, str, str, bool]
"""As Plan begins."""


def _plan(whose: _Whose, care: Care, order: AcmeOrder | None, now: datetime) -> Plan:
    return Plan(
        *whose,
        care.directory,
        care.profile,
        CareState(care.state),
        care.detail,
        care.waiting_since or now,
        care.renew_at,
        care.ask_at,
        {key: Trouble(count, datetime.fromisoformat(until) if until else None)
         for key, (count, until) in care.failures.items()},
        care.current,
        order,
        care.dns_word if isinstance(care, CertificateCare) else "",
        care.renew_why == Why.SUGGESTED,
        care.silent_address,
        _silent_until(care),
    )  # fmt: skip


def _silent_until(care: Care) -> datetime | None:
    if not care.silent_address or care.failed_at is None:
        return None
    failures, _ = care.failures.get(care.silent_directory, (1, None))
    return care.failed_at + wait_for_answer(failures)


@transaction.atomic
def wait(subject: Subject, state: CareState, due_at: datetime, detail: str = "") -> None:
    """Nothing more can be done for now."""
    care = _cares(subject)
    # since when it is waited for: from the moment that it was last good
    care.filter(waiting_since=None).update(waiting_since=clock.now())
    due_at = min([due_at, *_urgent_times(subject)])
    care.update(state=state, detail=detail[:1000], due_at=due_at)
    _put_soon(subject, due_at)


def _urgent_times(subject: Subject) -> list[datetime]:
    """When people are to hear of the present certificate's end, though no CA is asked again so soon."""
    care = _cares(subject).select_related("current").first()
    if care is None or care.current is None:
        return []
    current = care.current
    times = (last_days_begin(current.not_before, current.not_after), current.not_after)
    return [at for at in times if at > clock.now()]


@transaction.atomic
def keep_renewal(subject: Subject, renewal: Renewal, ask_at: datetime | None) -> None:
    """When the certificate is renewed, as the CA or its lifetime says now."""
    due_at = min(renewal.at, ask_at) if ask_at is not None else renewal.at
    _cares(subject).update(
        renew_at=renewal.at,
        renew_why=renewal.why,
        explanation_url=renewal.explanation_url[:500],
        ask_at=ask_at,
        due_at=due_at,
    )
    _put_soon(subject, due_at)


@transaction.atomic
def rest(subject: Subject) -> None:
    """Nothing is due before what `keep_renewal` wrote down, whoever asked meanwhile: what is due and is not done would
    be looked at again and again, before everybody else.
    """
    care = _cares(subject).select_for_update().first()
    times = [at for at in (care.renew_at, care.ask_at) if at is not None] if care is not None else []
    if care is not None and times:
        care.due_at = min(times)
        care.save(update_fields=["due_at"])


@transaction.atomic
def postpone(subject: Subject, until: datetime) -> None:
    """A look failed for a reason of ours: the queue tries it again, and until then it is in nobody's way."""
    _cares(subject).filter(due_at__lt=until).update(due_at=until)


def _put_soon(subject: Subject, due_at: datetime) -> None:
    if due_at - clock.now() < _SOON:
        outbox.put(KIND, str(subject), available_at=due_at)


@transaction.atomic
def settle(domain_id: int, rules: Rules) -> None:
    """People hear of a certificate that is not had, from the first time on, and the problem ends when it is there."""
    care = CertificateCare.objects.select_related("domain", "current").filter(domain_id=domain_id).first()
    if care is None:
        return
    host, state = f"mta-sts.{care.domain.name}", CareState(care.state)
    # what an order under way does not know yet is still so
    if state not in _UNDECIDED:
        causes = [cause for kept, cause in OF_STATE.items() if kept is not state]
        close_gone(leave_causes(domain_id, host, causes))
    if state in OF_STATE and _is_news(state, care):
        open_cause(Cause(care.organisation_id, domain_id, OF_STATE[state], host), rules)
    if state is not CareState.ORDERED:
        ending = _ending(state, care)
        close_gone(leave_causes(domain_id, host, [each for each in _ENDINGS if each != ending]))
        if ending:
            open_cause(Cause(care.organisation_id, domain_id, ending, host), rules)


_ENDINGS = (CERTIFICATE_LAST_DAYS, CERTIFICATE_ENDED)


def _ending(state: CareState, care: CertificateCare) -> str:
    """What is urgent by now, whatever keeps it from being renewed; empty: nothing."""
    current, now = care.current, clock.now()
    if current is None or state is CareState.GOOD or has_left(care.domain):
        return ""
    if now >= current.not_after:
        return CERTIFICATE_ENDED
    is_late = now >= last_days_begin(current.not_before, current.not_after)
    return CERTIFICATE_LAST_DAYS if is_late else ""


_UNDECIDED = frozenset({CareState.ORDERED, CareState.QUEUED, CareState.AWAY})


def _is_news(state: CareState, care: CertificateCare) -> bool:
    """A renewal that is due has failed when nobody can be asked; a new domain waits for a while before people hear."""
    since = care.waiting_since
    if state is not CareState.AWAY:
        return True
    return care.current is not None or (since is not None and clock.now() - since > _NEW_WAITS)


def authorities(directories: Sequence[str]) -> list[Authority]:
    """In the same order."""
    accounts = {each.directory: each for each in AcmeAccount.objects.filter(directory__in=directories)}
    placed: dict[str, list[datetime]] = {}
    orders = counted_orders(clock.now() - IDLE).filter(account__directory__in=directories)
    for directory, at in orders.values_list("account__directory", "placed_at"):
        placed.setdefault(directory, []).append(at)
    return [Authority(each, accounts.get(each), tuple(placed.get(each, ()))) for each in directories]


def line_before(plan: Plan) -> Line:
    """Who waits for a place at a CA and comes before this name. Our own names come before all others."""
    if plan.domain_id is None:
        return Line(0)
    now = clock.now()
    # by the index of due_at; whoever waits looks again within that time
    queued = CertificateCare.objects.filter(due_at__lte=now + 2 * LOOK_AGAIN, state=CareState.QUEUED)
    own = OwnNameCare.objects.filter(state=CareState.QUEUED).count()
    if plan.current is not None:
        return Line(own + queued.filter(current__not_after__lt=plan.current.not_after).count())
    since = plan.waiting_since
    # thousands may have come at the same moment
    earlier = Q(waiting_since__lt=since) | Q(waiting_since=since, domain_id__lt=plan.domain_id)
    before = queued.filter(Q(current__isnull=False) | earlier).count()
    soon = now + WINDOW
    coming = CertificateCare.objects.filter(due_at__lte=soon, state=CareState.GOOD, renew_at__lte=soon)
    return Line(own + before, coming.exclude(renew_why=Why.SUGGESTED).count())


def ensure_account(directory: str, make_sealed_key: Callable[[], bytes]) -> AcmeAccount:
    """The one at this CA, with a new key where there is none yet."""
    account, _ = AcmeAccount.objects.get_or_create(directory=directory, defaults={"key": make_sealed_key})
    return account


def account_purpose(directory: str) -> str:
    """What the key of an account is sealed for."""
    return f"account {directory}"


def key_purpose(host: str) -> str:
    """What the key of a certificate is sealed for."""
    return f"certificate {host}"


def registered(account_id: int, url: str) -> None:
    AcmeAccount.objects.filter(pk=account_id).update(url=url)


@transaction.atomic
def begin_order(
    plan: Plan, account_id: int, limit: int, *, key: bytes, method: str, profile: str, replaces: str
) -> AcmeOrder | None:
    """Write an order down before it is placed; None where the CA has had its orders, or one is under way. What
    `replaces` another takes no place.
    """
    # one at a time at a CA: the count below is then right on PostgreSQL too
    AcmeAccount.objects.select_for_update().get(pk=account_id)
    now = clock.now()
    counted = counted_orders(now).filter(account_id=account_id)
    placed = [] if replaces else list(counted.values_list("placed_at", flat=True))
    if last_order_at(placed, 1, limit, now) > now:
        return None
    try:
        with transaction.atomic():
            order = AcmeOrder.objects.create(
                organisation_id=plan.organisation_id,
                domain_id=plan.domain_id,
                account_id=account_id,
                host=plan.host,
                key=key,
                method=method,
                profile=profile,
                replaces=replaces,
                placed_at=now,
            )
    except IntegrityError:
        return None
    _cares(plan.subject).update(state=CareState.ORDERED, detail="")
    return order


def placed(order_id: int, url: str, replaces: str) -> None:
    """The CA has taken the order: from here on it is gone on with, never placed anew. `replaces`: as the CA took it."""
    AcmeOrder.objects.filter(pk=order_id).update(url=url, replaces=replaces)


@transaction.atomic
def challenged(order: AcmeOrder, token: str, key_authorization: str) -> None:
    """From the commit on every node answers the CA; our nameserver once it has taken it up."""
    AcmeOrder.objects.filter(pk=order.pk).update(token=token, key_authorization=key_authorization)
    _zone_changed(order)


def _zone_changed(order: AcmeOrder) -> None:
    if order.method == DNS_01:
        bump_generation(order.domain_id or OWN_NAMES)


@transaction.atomic
def show_word(domain_id: int) -> None:
    """Have our nameserver show a random word for the domain: see `Carer._is_delegated`."""
    if CertificateCare.objects.filter(domain_id=domain_id).update(dns_word=make_claim_token()):
        bump_generation(domain_id)


def answered(order_id: int) -> None:
    AcmeOrder.objects.filter(pk=order_id).update(answered_at=clock.now())


class Issued(NamedTuple):
    chain: str
    issuer: str
    not_before: datetime
    not_after: datetime
    renewal_id: str


@transaction.atomic
def issued(order: AcmeOrder, what: Issued, renewal: Renewal) -> Certificate | None:
    """The order has brought a certificate: from the commit on it is every node's to serve. None: it ended before."""
    now = clock.now()
    if not AcmeOrder.objects.filter(pk=order.pk, ended_at=None).update(ended_at=now, token=""):
        return None
    certificate = Certificate.objects.create(
        organisation_id=order.organisation_id,
        domain_id=order.domain_id,
        host=order.host,
        directory=order.account.directory,
        profile=order.profile,
        # as it is sealed now: `key rotate` may have come in between, and the key of before is given up
        key=AcmeOrder.objects.values_list("key", flat=True).get(pk=order.pk),
        sequence=next_sequence(),
        **what._asdict(),
    )
    subject = _subject_of(order)
    _cares(subject).update(
        current=certificate,
        state=CareState.GOOD,
        detail="",
        waiting_since=None,
        failures={},
        failed_at=None,
        silent_address="",
        silent_directory="",
        renew_at=renewal.at,
        renew_why=renewal.why,
        explanation_url="",
        ask_at=now,
        due_at=now,
    )
    AcmeAccount.objects.filter(pk=order.account_id).exclude(failures=0, blocked_until=None).update(
        failures=0, blocked_until=None
    )
    _zone_changed(order)
    outbox.put(KIND, str(subject))
    if order.domain_id is not None:
        # a policy that waits to be announced was not served for want of a certificate; nodes have it within a second
        outbox.put("announce", str(order.domain_id), available_at=now + timedelta(seconds=1))
    return certificate


@transaction.atomic
def end_order(order: AcmeOrder, words: str) -> None:
    """It brought nothing. What the CA never took is no order."""
    AcmeOrder.objects.filter(pk=order.pk, ended_at=None, url="").delete()
    AcmeOrder.objects.filter(pk=order.pk, ended_at=None).update(
        ended_at=clock.now(), token="", error=words[:1000]
    )
    _zone_changed(order)


@transaction.atomic
def name_failed(subject: Subject, directory: str, until: datetime, words: str, silent: str = "") -> None:
    """The CA does not give this name a certificate: it is left alone about it until then, or until `silent` is not: an
    address of the name that does not answer us either.
    """
    care = _cares(subject).select_for_update().first()
    if care is None:
        return
    count, _ = care.failures.get(directory, (0, None))
    care.failures[directory] = [count + 1, until.isoformat()]
    care.detail, care.state, care.failed_at = words[:1000], CareState.FAILING, clock.now()
    care.silent_address, care.silent_directory = silent, directory if silent else ""
    care.save(
        update_fields=["failures", "detail", "state", "failed_at", "silent_address", "silent_directory"]
    )


@transaction.atomic
def answers_again(subject: Subject) -> None:
    """The address that was silent is not, or is none of the name's any more: the CA may be asked at once."""
    care = _cares(subject).select_for_update().first()
    if care is None:
        return
    if care.silent_directory in care.failures:
        care.failures[care.silent_directory][1] = clock.now().isoformat()
    care.silent_address = care.silent_directory = ""
    care.save(update_fields=["failures", "silent_address", "silent_directory"])


@transaction.atomic
def ca_failed(account_id: int, fault: Fault, chance: float) -> datetime:
    """The CA is left alone; returns until when. All orders that are under way at a CA fail together: that is one
    failure of it, whichever worker is told first.
    """
    now = clock.now()
    account = AcmeAccount.objects.select_for_update().get(pk=account_id)
    if fault.code == "accountDoesNotExist":
        # RFC 8555 §7.3.3: the CA has forgotten us; the same key makes us known again
        account.url = ""
    before = account.blocked_until
    if before is None or not still_waits(before, now):
        account.failures += 1
        account.blocked_until = now + wait_for_ca(account.failures, fault, chance)
    else:
        account.blocked_until = max(before, now + told_wait(fault))
    if account.blocked_until != before:
        account.last_error, account.last_error_at = fault.words[:1000], now
    account.save(update_fields=["url", "failures", "blocked_until", "last_error", "last_error_at"])
    return account.blocked_until


def next_sequence() -> int:
    """For a certificate, within its transaction."""
    # the row stays locked until the commit: sequences are seen in their order
    row = CertificateSequence.objects.filter(pk=1)
    if not row.update(value=F("value") + 1):
        CertificateSequence.objects.get_or_create(pk=1)  # another node may be as far at the same moment
        row.update(value=F("value") + 1)
    tell_nodes()
    return CertificateSequence.objects.values_list("value", flat=True).get(pk=1)


def sweep() -> None:
    """Forget orders long ended, and certificates long expired that nothing serves."""
    now = clock.now()
    AcmeOrder.objects.filter(ended_at__lt=now - _KEEP_ORDERS).delete()
    old = Certificate.objects.filter(not_after__lt=now - _KEEP_CERTIFICATES)
    old = old.exclude(pk__in=CertificateCare.objects.filter(current__isnull=False).values("current"))
    old.exclude(pk__in=OwnNameCare.objects.filter(current__isnull=False).values("current")).delete()
