"""Looks after the certificates of domains and of our own names: proof, reach, CAA, an order at the first CA that takes
one, renewal.

Whatever is found out is written down with the time of the next look; in memory is nothing but which names a CA has
limited in the last minutes without saying why.
"""

import contextlib
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from django.db import Error as DatabaseError

from mailward.config import Settings
from mailward.core.acme.caa import Asked, why_forbidden
from mailward.core.acme.challenge import DNS_01, HTTP_01, LABEL, own_label
from mailward.core.acme.faults import (
    Fault,
    Limited,
    Scope,
    narrow,
    still_waits,
    wait_for_ca,
    wait_for_claim,
    wait_for_name,
)
from mailward.core.acme.lane import Line, turn_at
from mailward.core.acme.renewal import Life, ask_again, plan_renewal
from mailward.core.acme.settings import AcmeDirectory
from mailward.core.acme.state import CareState
from mailward.net import acme, clock, tracing
from mailward.net.acme import AcmeClient, AcmeFault
from mailward.net.guard import make_guard
from mailward.net.reach import Reach, Seen, look
from mailward.net.resolver import Status, make_resolver, of_those_in_reach
from mailward.net.sealing import load_keyring
from mailward.store.aio import in_store
from mailward.store.models import AcmeOrder, Certificate
from mailward.store.services import certificates
from mailward.store.services.certificates import Authority, Plan, Subject
from mailward.store.services.ownnames import was_issued_to
from mailward.worker.numbers import COUNTS
from mailward.worker.ordering import Counter, Showing, StillWaiting, open_account, pursue
from mailward.worker.records import check_domain

_log = logging.getLogger(__name__)

ROUNDS_SECONDS = 20.0
"""No round is begun after so long: the rest is other work, so that this one ends within its lease."""
_MAX_CAA_NAMES = 8
_FORBIDDEN_WAIT = timedelta(hours=1)
_GO_ON_WAIT = timedelta(seconds=5)
_KEEP_IN_OUTAGE = timedelta(hours=1)
"""So long an order that is proved waits for a CA that is away; then another CA has its turn."""
_SHOWN_WITHIN = timedelta(minutes=20)
"""So long an order waits for every server to show its challenge: one that heard no NOTIFY looks each quarter of an
hour. Then people are told which one does not.
"""
_SILENT_WAITS = timedelta(minutes=1), timedelta(minutes=20)
"""At least and at most so long until it is seen whether an address that a CA could not connect to answers again."""
_FAULT_WAIT = timedelta(hours=1)
_ASK_FAILED_WAIT = timedelta(hours=6)


_Reason = tuple[datetime, CareState, str]
"""Until when a CA is not asked, and why."""
_Refusal = tuple[datetime | None, CareState, str]
"""The same; without a time it is none."""


class Carer:
    """One a process."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where the keys that seal cannot be used, and OSError."""
        self.settings = settings
        self._authorities = {each.url: each for each in settings.acme.authorities}
        self._labels = settings.acme.labels
        self._resolver, self._guard = make_resolver(settings.dns), make_guard(settings.dns)
        self._keyring = load_keyring(settings)
        self._counter = Counter()
        self._limited: defaultdict[str, Limited] = defaultdict(Limited)
        """By directory."""

    async def care(self, subject: Subject) -> None:
        """Do what is to be done now, and write down when to look again."""
        try:
            with tracing.span("certificate.care"):
                await self._care(subject)
        except Exception:  # whatever it is: raised again, and not tried again at once before all others
            with contextlib.suppress(DatabaseError):
                await in_store(certificates.postpone, subject, clock.now() + _FAULT_WAIT)
            raise

    async def _care(self, subject: Subject) -> None:
        # each round ends in a certificate, in a wait, or with one CA less that may be asked
        ends = clock.monotonic() + ROUNDS_SECONDS
        for _ in range(len(self._authorities) + 3):
            plan = await in_store(certificates.plan_of, subject)
            if plan is None:
                return
            if clock.monotonic() > ends:
                await self._wait(plan, plan.state, plan.detail, clock.now())
                break
            if await self._step(plan):
                break
        if isinstance(subject, int):  # our own names are no organisation's problem: the console tells of them
            await in_store(certificates.settle, subject, self.settings.problems)

    async def _step(self, plan: Plan) -> bool:
        """True: that was all for now."""
        now = clock.now()
        if plan.order is not None:
            return await self._go_on(plan, plan.order)
        if plan.current is not None and plan.renew_at is not None and plan.renew_at > now:
            return await self._look_ahead(plan, plan.current)
        if not plan.is_proved and plan.domain_id is not None:
            # the records are looked at here: a claim that is seen there counts
            await check_domain(self.settings, plan.domain_id)
            proved = await in_store(certificates.plan_of, plan.domain_id)
            if proved is None or not proved.is_proved:
                detail = "no record proves yet that the domain is yours"
                return await self._wait(plan, CareState.CLAIM, detail)
            plan = proved
        if plan.state is CareState.QUEUED and await self._waits_its_turn(plan):
            return True
        choice = self.settings.acme.own_challenge if plan.domain_id is None else ""
        if choice == DNS_01:
            if await self._is_delegated(plan):
                return await self._order(plan, DNS_01)
            state = CareState.GONE if plan.current is not None and not plan.has_left else CareState.REACH
            return await self._wait(plan, state, self._say_missing(plan))
        return await self._order_where_it_leads(plan, choice)

    async def _order_where_it_leads(self, plan: Plan, choice: str) -> bool:
        """As `_step`. `choice`: of the challenge, by the settings; empty: none."""
        seen = await self._look(plan)
        if _answers_again(plan, seen, clock.now()):
            await in_store(certificates.answers_again, plan.subject)
            return False
        if seen.reach is Reach.OURS and not seen.silent:
            return await self._order(plan, HTTP_01)
        # what stands in the DNS is certain; a silent port 80 is not, be it that of one of several addresses
        if choice != HTTP_01 and await self._is_delegated(plan):
            return await self._order(plan, DNS_01)
        if seen.reach is Reach.OURS or await self._may_lead_to_us(plan, seen):
            return await self._order(plan, HTTP_01)
        state = CareState.GONE if plan.current is not None and not plan.has_left else CareState.REACH
        why = seen.detail or "it does not answer"
        if plan.domain_id is None and self.settings.nameserver.zone and choice != HTTP_01:
            why += f"; and {self._say_missing(plan)}"
        return await self._wait(plan, state, why)

    async def _look(self, plan: Plan) -> Seen:
        return await look(
            plan.host,
            resolver=self._resolver,
            guard=self._guard,
            keyring=self._keyring,
            port=self.settings.acme.reach_port,
        )

    def _say_missing(self, plan: Plan) -> str:
        """Of a name of our own: what would lead a CA to our nameserver."""
        zone = self.settings.nameserver.zone
        if not zone:
            return "own_challenge is dns-01 and there is no nameserver.zone"
        target = f"{LABEL}.{own_label(plan.host)}.{zone}"
        return f"{LABEL}.{plan.host} does not lead to our nameserver, as by a CNAME to {target}"

    async def _is_delegated(self, plan: Plan) -> bool:
        """Whether we answer for the challenge's name: by the fourth CNAME, to a label that nobody else knows, so that
        it says who holds the name; because what we show there is seen at the name itself, as where a DNS host flattens
        CNAMEs; or because the host is a zone that is delegated to our servers alone, by NS.
        """
        own = self.settings.nameserver
        if plan.domain_id is None and own.zone:
            return await self._is_own_delegated(plan.host, own.zone)
        if not own.zone or not plan.delegation_token:
            return False
        answer = await self._resolver.lookup_authoritative(f"{LABEL}.{plan.host}", "TXT")
        if f"{LABEL}.{plan.delegation_token}.{own.zone}".lower() in answer.chain:
            return True
        if plan.dns_word and plan.dns_word.encode() in answer.records:
            return True
        if own.policy_addresses and plan.is_proved and await self._is_handed_to_us(plan.host):
            return True
        if plan.domain_id is not None and not plan.dns_word:
            await in_store(certificates.show_word, plan.domain_id)  # for the next look
        return False

    async def _is_own_delegated(self, host: str, zone: str) -> bool:
        """The same of a name of our own: by a CNAME, or because it is in our zone."""
        if f".{host}".endswith(f".{zone.lower()}"):
            return await self._is_handed_to_us(zone)
        answer = await self._resolver.lookup_authoritative(f"{LABEL}.{host}", "TXT")
        return f"{LABEL}.{own_label(host)}.{zone}".lower() in answer.chain

    async def _is_handed_to_us(self, name: str) -> bool:
        """Whether the zone above hands it to our servers alone, by NS."""
        servers = await self._resolver.delegation(name)
        ours = {each.lower().removesuffix(".") for each in self.settings.nameserver.server_names}
        return servers.found and {each.lower().removesuffix(".") for each in servers.records} <= ours

    async def _shown(self, name: str, text: str) -> Showing:
        answers = of_those_in_reach(await self._resolver.lookup_everywhere(name, "TXT"))
        not_yet = {at: each for at, each in answers.items() if text.encode() not in each.records}
        silent = [at for at, each in not_yet.items() if each.status is Status.FAILED]
        if len(silent) == len(answers):
            if all(each.is_out_of_reach for each in answers.values()):
                at, answer = next(iter(answers.items()))
                return Showing(missing=f"no name server can be asked: {at}: {answer.reason}")
            return Showing(missing="no name server shows the challenge yet")
        missing = next((f"{at} does not show the challenge yet" for at in not_yet if at not in silent), "")
        return Showing(missing, f"{silent[0]} does not answer" if silent else "")

    async def _may_lead_to_us(self, plan: Plan, seen: Seen) -> bool:
        if seen.reach is not Reach.SILENT:
            return False
        if plan.domain_id is None and not await in_store(was_issued_to):
            return False  # our own addresses say nothing of themselves: a closed port 80 looks the same
        # a machine may not reach its own outside address; then the same addresses as ours have to do
        ours = await self._resolver.addresses(self.settings.policy_host.public_name)
        return ours.found and bool(set(seen.addresses) & set(ours.records))

    async def _wait(self, plan: Plan, state: CareState, detail: str, due_at: datetime | None = None) -> bool:
        now = clock.now()
        if plan.domain_id is None and (state, detail) != (plan.state, plan.detail):
            _log.warning("own-name-waits", extra={"host": plan.host, "state": state.value, "reason": detail})
        await in_store(
            certificates.wait,
            plan.subject,
            state,
            due_at or now + wait_for_claim(now - plan.waiting_since),
            detail,
        )
        return True

    async def _order(self, plan: Plan, method: str) -> bool:
        """Place an order at the first CA that may be asked. False: it is there, to go on with."""
        return await self._is_taken_by_none(plan, lambda ca: self._begin(plan, ca, method))

    async def _waits_its_turn(self, plan: Plan) -> bool:
        """Whether no CA has a place for the name yet: where it leads is looked at when one has."""
        return await self._is_taken_by_none(plan)

    async def _is_taken_by_none(
        self, plan: Plan, begin: Callable[[AcmeDirectory], Awaitable[_Refusal]] | None = None
    ) -> bool:
        """True: no CA takes an order now, and that is all for now. `begin` is tried at each that may be asked."""
        reasons: list[_Reason] = []
        line = await in_store(certificates.line_before, plan)
        for authority in await in_store(certificates.authorities, self._preferred(plan)):
            ca = self._authorities[authority.directory]
            until, state, why = self._why_not_now(plan, authority, ca, line)
            if until is None and begin is not None:
                until, state, why = await begin(ca)
            if until is None:
                return False
            reasons.append((until, state, why))
        return await self._wait_for(plan, reasons)

    async def _wait_for(self, plan: Plan, reasons: Sequence[_Reason]) -> bool:
        """For the first CA that may be asked again."""
        if not reasons:
            return True
        # what people can mend is told before what time mends
        state = min((each for _, each, _ in reasons), key=_rank)
        why = "; ".join(dict.fromkeys(reason for _, kept, reason in reasons if kept is state and reason))
        due_at = min(until for until, _, _ in reasons)
        if plan.silent_until is not None:
            now = clock.now()
            least, most = _SILENT_WAITS
            look_at = now + min(max(least, wait_for_claim(now - plan.waiting_since)), most)
            due_at = min(due_at, max(look_at, plan.silent_until))
        return await self._wait(plan, state, why, due_at)

    def _preferred(self, plan: Plan) -> Sequence[str]:
        urls = list(self._authorities)
        return sorted(urls, key=lambda url: url != plan.directory)

    def _why_not_now(self, plan: Plan, authority: Authority, ca: AcmeDirectory, line: Line) -> _Refusal:
        now = clock.now()
        account = authority.account
        blocked_until = account.blocked_until if account is not None else None
        if account is not None and blocked_until is not None and still_waits(blocked_until, now):
            return blocked_until, CareState.AWAY, f"{ca.url}: {account.last_error}"
        trouble = plan.troubles.get(ca.url)
        if trouble is not None and trouble.until is not None and still_waits(trouble.until, now):
            return trouble.until, CareState.FAILING, plan.detail
        if plan.is_suggested and _identifier(plan, ca):
            return None, CareState.ORDERED, ""  # see `counted_orders`
        at = turn_at(authority.placed, line, ca.orders_per_3_hours, now)
        if at > now:
            why = f"{ca.url} takes {ca.orders_per_3_hours} orders in 3 hours"
            # a moment later, when those before it have begun
            return at + timedelta(seconds=random.uniform(1, 30)), CareState.QUEUED, why  # noqa: S311
        return None, CareState.ORDERED, ""

    async def _begin(self, plan: Plan, ca: AcmeDirectory, method: str) -> _Refusal:
        """Write an order down, where the CA may be asked; otherwise when to try again, and why not."""
        try:
            who = await open_account(self._counter, ca, self._keyring)
            identities = await self._counter.call(who, AcmeClient.read_identities)
            has_ari = await self._counter.call(who, AcmeClient.offers_renewal_info)
        except AcmeFault as error:
            until = await self._ca_failed(ca, error.fault)
            return until, CareState.AWAY, f"{ca.url}: {error.fault.words}"
        forbidden = await self._why_forbidden(plan.host, Asked(identities, who.account_url, method))
        may_change = plan.domain_id is not None or not self.settings.acme.own_challenge
        if forbidden and may_change and method == HTTP_01 and await self._is_delegated(plan):
            # RFC 8657 §4: the records may allow the one and not the other
            method = DNS_01
            forbidden = await self._why_forbidden(plan.host, Asked(identities, who.account_url, method))
        if forbidden:
            return clock.now() + _FORBIDDEN_WAIT, CareState.FORBIDDEN, forbidden
        profile = (plan.profile if plan.directory in ("", ca.url) else "") or ca.profile
        # RFC 9773 §5: not to a CA that does not offer ARI
        replaces = _identifier(plan, ca) if has_ari else ""
        key = self._keyring.seal(acme.make_key(), certificates.key_purpose(plan.host))
        order = await in_store(
            certificates.begin_order,
            plan,
            who.account_id,
            ca.orders_per_3_hours,
            key=key,
            method=method,
            profile=profile,
            replaces=replaces,
        )
        if order is None:
            return clock.now() + _GO_ON_WAIT, CareState.QUEUED, f"{ca.url} takes no more orders now"
        return None, CareState.ORDERED, ""

    async def _why_forbidden(self, host: str, asked: Asked) -> str:
        """RFC 8659 section 3: the records of the closest name that has any."""
        labels = host.split(".")
        for at in range(min(len(labels) - 1, _MAX_CAA_NAMES)):
            answer = await self._resolver.lookup(".".join(labels[at:]), "CAA")
            if answer.status is Status.FAILED:
                return ""  # the CA sees for itself, and says so
            if answer.found:
                reason = why_forbidden(answer.records, asked)
                return f"{'.'.join(labels[at:])}: {reason}" if reason else ""
        return ""

    async def _go_on(self, plan: Plan, order: AcmeOrder) -> bool:
        ca = self._authorities.get(order.account.directory)
        if ca is None:
            await in_store(certificates.end_order, order, "the CA is not in the settings any more")
            return False
        try:
            who = await open_account(self._counter, ca, self._keyring)
            with tracing.span("certificate.order", {"mailward.host": order.host, "mailward.ca": ca.url}):
                what = await pursue(self._counter, who, order, self._keyring, self._shown)
        except StillWaiting as error:
            detail = str(error) or "the CA is at it"
            if _is_young(order, _SHOWN_WITHIN if str(error) else _KEEP_IN_OUTAGE):
                return await self._wait(plan, CareState.ORDERED, detail, clock.now() + _GO_ON_WAIT)
            await self._failed(plan, order, ca, Fault(Scope.NAME, detail))
            return False
        except AcmeFault as error:
            fault = narrow(error.fault, plan.name, self._limited[ca.url], clock.now())
            if order.answered_at is not None and _is_outage(fault) and _is_young(order, _KEEP_IN_OUTAGE):
                # the CA is about to give it, or has: another order counts against its limits
                return await self._wait(
                    plan, CareState.ORDERED, fault.words, await self._ca_failed(ca, fault)
                )
            await self._failed(plan, order, ca, fault)
            return False
        renewal = plan_renewal(Life(what.not_before, what.not_after, clock.now()), None, _chance(order.pk))
        await in_store(certificates.issued, order, what, renewal)
        self._limited[ca.url].forget()
        extra = {"domain": plan.name, "ca": ca.url, "until": what.not_after.isoformat()}
        _log.info("certificate-issued", extra=extra)
        COUNTS.orders[self._labels[ca.url], "issued"] += 1
        return False  # when to renew it is the next step

    async def _failed(self, plan: Plan, order: AcmeOrder, ca: AcmeDirectory, fault: Fault) -> None:
        extra = {"domain": plan.name, "ca": ca.url, "code": fault.code, "reason": fault.words}
        _log.warning("certificate-not-issued", extra=extra)
        COUNTS.orders[self._labels[ca.url], "failed"] += 1
        await in_store(certificates.end_order, order, fault.words)
        if fault.scope is Scope.CA:
            await self._ca_failed(ca, fault)
            return
        trouble = plan.troubles.get(ca.url)
        failures = trouble.failures + 1 if trouble else 1
        until = clock.now() + wait_for_name(failures, fault, random.random())  # noqa: S311
        words, silent = fault.words, ""
        if order.method == HTTP_01 and fault.code == "connection" and fault.retry_after is None:
            silent = next(iter((await self._look(plan)).silent), "")
            words += f"; {silent} does not answer us either" if silent else ""
        await in_store(certificates.name_failed, plan.subject, ca.url, until, words, silent)

    async def _ca_failed(self, ca: AcmeDirectory, fault: Fault) -> datetime:
        chance = random.random()  # noqa: S311
        known = (await in_store(certificates.authorities, [ca.url]))[0].account
        if known is None:
            return clock.now() + wait_for_ca(1, fault, chance)
        return await in_store(certificates.ca_failed, known.pk, fault, chance)

    async def _look_ahead(self, plan: Plan, current: Certificate) -> bool:
        """Ask the CA when it would like the certificate renewed (RFC 9773)."""
        now = clock.now()
        if plan.ask_at is None or still_waits(plan.ask_at, now):
            await in_store(certificates.rest, plan.subject)
            return True
        ca = self._authorities.get(current.directory)
        info, wanted = None, None
        try:
            if ca is not None and current.renewal_id and now < current.not_after:
                who = await open_account(self._counter, ca, self._keyring)
                if await self._counter.call(who, AcmeClient.offers_renewal_info):
                    info, wanted = await self._counter.call(who, AcmeClient.renewal_info, current.renewal_id)
        except AcmeFault as error:
            _log.info("renewal-info-not-had", extra={"domain": plan.name, "reason": error.fault.words})
            wanted = _ASK_FAILED_WAIT
        renewal = plan_renewal(
            Life(current.not_before, current.not_after, current.created_at), info, _chance(current.pk)
        )
        # without ARI there is nobody to ask, unless it comes: a CA may begin to offer it
        ask_at = now + ask_again(current.not_before, current.not_after, wanted)
        await in_store(certificates.keep_renewal, plan.subject, renewal, ask_at)
        return renewal.at > now


def _answers_again(plan: Plan, seen: Seen, now: datetime) -> bool:
    """Whether the address that a CA could not connect to does answer, or DNS has it no more."""
    is_over = plan.silent_until is not None and not still_waits(plan.silent_until, now)
    return is_over and seen.reach is Reach.OURS and plan.silent_address not in seen.silent


def _identifier(plan: Plan, ca: AcmeDirectory) -> str:
    """Of the certificate that this CA would renew (RFC 9773 section 4.1); empty: it has given none."""
    return plan.current.renewal_id if plan.current and plan.current.directory == ca.url else ""


def _rank(state: CareState) -> int:
    """A CA that is full takes the name later; one that is away says nothing of it."""
    return {CareState.QUEUED: 1, CareState.AWAY: 2}.get(state, 0)


def _is_outage(fault: Fault) -> bool:
    return fault.scope is Scope.CA and fault.code in ("", "serverInternal")


def _is_young(order: AcmeOrder, within: timedelta) -> bool:
    return abs(clock.now() - order.placed_at) < within


def _chance(number: int) -> float:
    """The same for the same certificate, between 0 and 1."""
    return random.Random(number).random()  # noqa: S311 - spreads load, hides nothing


_carers: dict[int, Carer] = {}


def carer_for(settings: Settings) -> Carer:
    """The one of this process and these settings."""
    found = _carers.get(id(settings))
    if found is None or found.settings is not settings:
        found = Carer(settings)
        _carers.clear()
        _carers[id(settings)] = found
    return found
