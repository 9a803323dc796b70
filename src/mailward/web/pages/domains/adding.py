"""Adding and removing domains."""

from collections.abc import Sequence
from dataclasses import replace

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from mailward.core.mtasts.change import ChangeFacts, refuse
from mailward.core.mtasts.policy import Mode, PolicyInvalid
from mailward.core.names import Domain as Name
from mailward.monitor.elsewhere import Live
from mailward.store.models import Domain
from mailward.store.services.domains import create_domains, delete_domain
from mailward.store.services.policies import publish_policy
from mailward.web.access import ScopedRequest, find_domain, writer_page
from mailward.web.live import live_policies_for, propose_for
from mailward.web.pages.domains.forms import AddForm, RemoveForm
from mailward.web.pages.policies.proposal import starting_policy

LIVE_SECONDS = 15.0
_MAX_NAMED = 5


@writer_page
def domain_add(request: ScopedRequest) -> HttpResponse:
    form = AddForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return render(request, "domains/add.html", {"form": form})
    names: list[Name] = form.cleaned_data["names"]
    added = create_domains(request.scope, names)
    if added.already_there:
        messages.info(request, f"Added before: {_name_some(added.already_there)}.")
    if added.created:
        messages.success(request, f"Added: {_name_some([domain.name for domain in added.created])}.")
    if form.cleaned_data["begin"]:
        _begin(request, added.created)
    if len(names) == 1:
        return redirect("domain-setup", names[0])
    return redirect("domain-list")


@writer_page
def domain_remove(request: ScopedRequest, name: str) -> HttpResponse:
    domain = find_domain(request, name)
    form = RemoveForm(domain.name, request.POST or None)
    if request.method == "POST" and form.is_valid():
        delete_domain(request.scope, domain.pk)
        messages.success(request, f"{domain.name} is removed.")
        return redirect("domain-list")
    return render(request, "domains/remove.html", {"domain": domain, "form": form, "tab": ""})


def _begin(request: ScopedRequest, created: Sequence[Domain]) -> None:
    """Serve a testing policy for each, or the one that is live elsewhere; a domain of which either is not known waits
    for a person.
    """
    names = [domain.name for domain in created]
    # one that is live elsewhere is kept: a testing policy in its place would take its protection away
    live, proposals = live_policies_for(names, seconds=LIVE_SECONDS), propose_for(names)
    waiting, hazards = [], []
    for domain in created:
        seen = live.get(domain.name)
        if reason := _why_unknown(seen):
            waiting.append(f"{domain.name} ({reason})")
            continue
        if seen is not None and (policy := seen.policy) is not None and policy.mode is not Mode.NONE:
            try:
                publish_policy(
                    request.scope.organisation_id,
                    domain.pk,
                    replace(policy, text=""),
                    author_id=request.scope.user_id,
                    reason="Taken over from the live policy",
                )
            except PolicyInvalid as error:  # with our line ends it may be too long
                waiting.append(f"{domain.name} (its live policy cannot be served as it is: {error})")
                continue
            # senders hold it already, so that nobody more is locked out; but people are told
            facts = ChangeFacts(proposals[domain.name].hosts, current=policy)
            hazards += [f"{domain.name} ({each.reason})" for each in refuse(policy, facts)]
            continue
        proposal = proposals[domain.name]
        if not proposal.hosts:
            waiting.append(f"{domain.name} ({proposal.reason})")
            continue
        try:
            publish_policy(
                request.scope.organisation_id,
                domain.pk,
                starting_policy(proposal.hosts),
                author_id=request.scope.user_id,
                reason="First policy, from the live MX records",
            )
        except PolicyInvalid as error:
            waiting.append(f"{domain.name} ({error})")
    if waiting:
        messages.warning(request, f"No policy yet: {_name_some(waiting)}.")
    if hazards:
        messages.warning(request, f"Taken over as it is, and to be mended: {_name_some(hazards)}.")


def _why_unknown(seen: Live | None) -> str:
    """Why a policy that is live elsewhere may be there without our knowing it."""
    if seen is None:
        return "whether it has a policy elsewhere was not answered in time"
    return f"senders may hold a policy from elsewhere: {seen.unknown}" if seen.unknown else ""


def _name_some(names: Sequence[str]) -> str:
    if len(names) <= _MAX_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_MAX_NAMED])} and {len(names) - _MAX_NAMED} more"
