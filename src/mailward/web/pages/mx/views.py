"""The MX hosts of one domain beside its policy."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from mailward.core.mtasts.change import covers
from mailward.core.mtasts.follow import Follow, compare, widen
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import matches_mx
from mailward.monitor.proposals import MxProposal
from mailward.net import clock
from mailward.store.models import Domain, MxChange
from mailward.store.services import following
from mailward.store.services.policies import (
    ChangedMeanwhile,
    ChangeRefused,
    PolicyUnchanged,
    change_policy,
    policy_of,
)
from mailward.web.access import ScopedRequest, find_domain, reader_page, writer_page
from mailward.web.live import change_facts_for, look_at_planned_host, propose_for
from mailward.web.pages.mx.forms import PlanForm

_ENDED_SHOWN = 20
_CHOICES = (
    (
        Follow.OFF,
        "Off",
        "People are told of a new MX host outside the policy, and of one that has left; they change the policy.",
    ),
    (
        Follow.PROVIDERS,
        "Known providers",
        "Only hosts of providers that Mailward knows, by the provider’s own patterns.",
    ),
    (
        Follow.ALL,
        "All",
        "Any new MX host. Whoever can change your DNS for longer than the wait can change the policy.",
    ),
)


@dataclass(frozen=True, slots=True)
class HostRow:
    host: str
    covered_by: str
    """Empty: by no line."""


@reader_page
def domain_mx(request: ScopedRequest, name: str) -> HttpResponse:
    return _render(request, find_domain(request, name), PlanForm())


@writer_page
@require_POST
def mx_follow(request: ScopedRequest, name: str) -> HttpResponse:
    domain = find_domain(request, name)
    mode = request.POST.get("mode", "")
    if mode not in set(Follow):
        return HttpResponse("No such mode.", status=400, content_type="text/plain")
    if following.set_follow(
        request.scope.organisation_id, domain.pk, Follow(mode), author_id=request.scope.user_id
    ):
        messages.success(request, "That is kept.")
    return redirect("domain-mx", domain.name)


@writer_page
@require_POST
def mx_plan(request: ScopedRequest, name: str) -> HttpResponse:
    """The policy gains the host now, so that senders know it before it is live."""
    domain, form = find_domain(request, name), PlanForm(request.POST)
    if domain.current_version is None or domain.current_version.mode == Mode.NONE:
        messages.error(request, "Write a policy first: none is in force.")
        return redirect("domain-mx", domain.name)
    if not form.is_valid():
        return _render(request, domain, form)
    pattern = form.cleaned_data["pattern"]
    policy = widen(policy_of(domain.current_version), [pattern])
    if (doubt := _doubt(domain, pattern, policy)) and request.POST.get("anyway") != pattern:
        return _render(request, domain, form, doubt=doubt)
    reason = form.cleaned_data["reason"] or f"MX host to come: {pattern}"
    if doubt:
        reason = f"{reason} (planned though strict senders would refuse it now: {doubt})"[:500]
    try:
        _widen(request, domain, policy, reason)
    except ChangeRefused as error:
        form.add_error(None, [str(refusal) for refusal in error.refusals])
        return _render(request, domain, form)
    except ChangedMeanwhile:
        messages.error(
            request, "Somebody else published another version meanwhile. Look at it, then plan again."
        )
        return redirect("domain-mx", domain.name)
    following.plan(
        request.scope.organisation_id,
        domain.pk,
        pattern,
        form.cleaned_data["expected"],
        author_id=request.scope.user_id,
    )
    messages.success(request, f"{pattern} is planned, and in the policy.")
    return redirect("domain-mx", domain.name)


@writer_page
@require_POST
def mx_end(request: ScopedRequest, name: str, change_id: int) -> HttpResponse:
    """Object to a change that waits, or give up a planned one."""
    domain = find_domain(request, name)
    row = request.scope.mx_changes().filter(domain=domain, pk=change_id).first()
    if row is None:
        raise Http404
    state = "withdrawn" if row.kind == "planned" else "vetoed"
    if following.end(row.pk, state, "", author_id=request.scope.user_id):
        messages.success(request, "The policy stays as it is.")
    return redirect("domain-mx", domain.name)


def veto(request: HttpRequest, token: str) -> HttpResponse:
    """For whoever got the mail, with a login or not. Looking at the page changes nothing: mail programs look too."""
    row = following.by_veto_token(token[:100])
    if row is None:
        raise Http404
    if request.method == "POST":
        following.end(row.pk, "vetoed", "by the link in the mail")
        row.refresh_from_db()
    return render(request, "mx/veto.html", {"change": row, "is_open": row.ended_at is None})


def _widen(request: ScopedRequest, domain: Domain, policy: Policy, reason: str) -> None:
    """Raises ChangeRefused, ChangedMeanwhile."""
    facts = change_facts_for(domain.pk, policy)
    try:
        change_policy(
            request.scope.organisation_id,
            domain.pk,
            policy,
            facts,
            author_id=request.scope.user_id,
            reason=reason,
            based_on=domain.current_version.number if domain.current_version else 0,
        )
    except PolicyUnchanged:
        return


def _doubt(domain: Domain, pattern: str, policy: Policy) -> str:
    """What would be rejected at a host that is there already, under enforce: somebody who plans it wants to know now. A
    host that is not there yet is what plans are for.
    """
    if policy.mode is not Mode.ENFORCE or pattern.startswith("*."):
        return ""
    return look_at_planned_host(domain.name, pattern, policy)


def _render(request: ScopedRequest, domain: Domain, form: PlanForm, *, doubt: str = "") -> HttpResponse:
    live = propose_for([domain.name])[domain.name]
    policy = policy_of(domain.current_version) if domain.current_version else None
    changes = request.scope.mx_changes().filter(domain=domain).select_related("author")
    follow = request.scope.mx_follows().filter(domain=domain).first()
    planned = [row.subject for row in changes if row.kind == "planned" and row.ended_at is None]
    unused = compare(policy, live.hosts).unused if policy else ()
    context = {
        "domain": domain,
        "tab": "mx",
        "live": live,
        "rows": _rows(policy, live),
        "objected": {row.subject for row in changes if row.kind == "appeared" and row.state == "vetoed"},
        "has_say": policy is not None and policy.mode is not Mode.NONE,
        "enforces": policy is not None and policy.mode is Mode.ENFORCE,
        "covered": policy.mx if policy else (),
        "unused": [pattern for pattern in unused if pattern not in planned],
        "trusted_until": _trusted_until(domain),
        "open": [row for row in changes.order_by("due_at", "id") if _is_to_come(row, policy)],
        "ended": changes.filter(ended_at__isnull=False).order_by("-ended_at")[:_ENDED_SHOWN],
        "follow": follow.mode if follow else Follow.OFF.value,
        "choices": _CHOICES,
        "wait_hours": settings.MAILWARD.follow.wait_hours,
        "form": form,
        "doubt": doubt,
    }
    return render(request, "mx/mx.html", context)


def _rows(policy: Policy | None, live: MxProposal) -> list[HostRow]:
    found = []
    for host in live.hosts:
        covered = policy is not None and covers(policy, host)
        line = next((each for each in policy.mx if matches_mx(each, host)), "") if policy and covered else ""
        found.append(HostRow(host, line))
    return found


def _is_to_come(row: MxChange, policy: Policy | None) -> bool:
    """A line that a person has just taken out is not asked for once more: the next look at the DNS ends its row."""
    is_taken_out = row.state == "left" and (policy is None or row.subject not in policy.mx)
    return row.ended_at is None and not is_taken_out


def _trusted_until(domain: Domain) -> datetime | None:
    """Until when a sender may hold the policy as it is now: a host name that leaves it today is trusted that long."""
    version = domain.current_version
    return clock.now() + timedelta(seconds=version.max_age_seconds) if version else None
