"""Leaving MTA-STS, leaving for another provider, and taking over what another provider serves."""

from dataclasses import replace

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from mailward.core.mtasts.change import ChangeFacts
from mailward.core.mtasts.follow import Follow
from mailward.core.mtasts.leaving import Stage
from mailward.store.models import Domain, Leaving
from mailward.store.services import leaving
from mailward.store.services.dnsupdates import zone_of
from mailward.store.services.policies import ChangedMeanwhile, ChangeRefused, PolicyUnchanged, change_policy
from mailward.web.access import ScopedRequest, find_domain, reader_page, writer_page
from mailward.web.live import change_facts_for, look_at_host, look_at_live_policy


@reader_page
def domain_leave(request: ScopedRequest, name: str) -> HttpResponse:
    domain = find_domain(request, name)
    row = _open_plan(request, domain)
    plan = leaving.plan_of(row) if row else None
    last = (
        request.scope.leavings().filter(domain=domain, ended_at__isnull=False).order_by("-ended_at").first()
    )
    context = {"domain": domain, "tab": "policy", "row": row, "plan": plan, "last": last, "stages": Stage}
    return render(request, "policies/leave.html", context | {"is_kept_up": zone_of(domain) is not None})


@writer_page
@require_POST
def domain_leave_begin(request: ScopedRequest, name: str) -> HttpResponse:
    domain = find_domain(request, name)
    if request.POST.get("confirm", "").strip().lower() != domain.name:
        messages.error(request, f"Nothing was done: type {domain.name} to begin.")
        return redirect("domain-leave", domain.name)
    try:
        leaving.begin(
            request.scope.organisation_id,
            domain.pk,
            author_id=request.scope.user_id,
            reason=request.POST.get("reason", "")[:500],
        )
    except leaving.NothingToLeave:
        messages.error(request, "No policy is served here.")
    return redirect("domain-leave", domain.name)


@writer_page
@require_POST
def domain_leave_end(request: ScopedRequest, name: str) -> HttpResponse:
    domain = find_domain(request, name)
    if leaving.break_off(request.scope.organisation_id, domain.pk, author_id=request.scope.user_id):
        messages.success(
            request, "Broken off. Mode none is served still: restore a version to be protected again."
        )
    return redirect("domain-history", domain.name)


@writer_page
def domain_move(request: ScopedRequest, name: str) -> HttpResponse:
    """What another provider must serve before the names lead there; by POST, whether it does."""
    domain = find_domain(request, name)
    address = request.POST.get("address", "").strip()[:253]
    found = None
    if request.method == "POST" and address and domain.current_version is not None:
        found = look_at_host(domain.name, address, domain.current_version.text)
    context = {"domain": domain, "tab": "policy", "version": domain.current_version, "address": address}
    follows = request.scope.mx_follows().filter(domain=domain).exclude(mode=Follow.OFF.value).exists()
    return render(request, "policies/move.html", context | {"found": found, "follows": follows})


@writer_page
def domain_take_over(request: ScopedRequest, name: str) -> HttpResponse:
    """The policy that is live elsewhere, as it is, under an id of ours."""
    domain = find_domain(request, name)
    live = look_at_live_policy(domain.name)
    context = {"domain": domain, "tab": "policy", "live": live, "refusals": (), "is_again": False}
    if request.method == "POST" and live.policy is not None:
        policy = replace(live.policy, text="")
        # what senders hold now is that very policy: it was tested elsewhere
        facts: ChangeFacts = replace(change_facts_for(domain.pk, policy), current=live.policy)
        try:
            change_policy(
                request.scope.organisation_id,
                domain.pk,
                policy,
                facts,
                author_id=request.scope.user_id,
                reason="Taken over from the live policy",
                based_on=domain.current_version.number if domain.current_version else 0,
                is_forced=request.POST.get("confirm", "").strip().lower() == domain.name,
            )
        except ChangeRefused as error:
            return render(
                request,
                "policies/take_over.html",
                context | {"refusals": error.refusals, "is_again": "confirm" in request.POST},
            )
        except PolicyUnchanged:
            messages.info(request, "It is what is served here already.")
        except ChangedMeanwhile:
            messages.error(request, "Somebody else published another version meanwhile. Look at it first.")
        else:
            messages.success(
                request,
                "Taken over. Let the names lead here once every policy host serves it and its id is told.",
            )
        return redirect("domain-policy", domain.name)
    return render(request, "policies/take_over.html", context)


def _open_plan(request: ScopedRequest, domain: Domain) -> Leaving | None:
    rows = request.scope.leavings().filter(domain=domain, ended_at=None)
    return rows.filter(version_id=domain.current_version_id).select_related("version").first()
