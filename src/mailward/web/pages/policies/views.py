"""The policy of one domain: shown, changed, restored."""

from contextlib import suppress
from dataclasses import replace

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from mailward.core.mtasts.change import Refusal, refuse
from mailward.core.mtasts.policy import Mode, Policy, serialise_policy
from mailward.core.rollout.verdict import Code, State
from mailward.net import clock
from mailward.store.models import Domain, PolicyVersion
from mailward.store.queries.daily import last_reported_day
from mailward.store.queries.domains import is_served
from mailward.store.queries.policies import diff_lines, events_of, history, mode_since, progress_of
from mailward.store.queries.problems import problems_of_domain
from mailward.store.services.policies import (
    ChangedMeanwhile,
    ChangeRefused,
    PolicyUnchanged,
    change_policy,
    keep_extensions,
    policy_of,
)
from mailward.web.access import ScopedRequest, find_domain, reader_page, writer_page
from mailward.web.fetching import fetch_command
from mailward.web.live import change_facts_for, propose_for
from mailward.web.pages.policies.forms import PolicyForm
from mailward.web.pages.policies.proposal import STARTING_MAX_AGE
from mailward.web.pages.policies.review import Situation, review
from mailward.web.pages.problems.cause import explain_cause
from mailward.web.querystring import MOST_SEARCHED, read_text


@reader_page
def domain_policy(request: ScopedRequest, name: str) -> HttpResponse:
    domain = find_domain(request, name)
    context = {
        "domain": domain,
        "tab": "policy",
        "version": domain.current_version,
        "progress": progress_of(request.scope, domain),
        "is_served_now": is_served(domain),
        "delegates": bool(settings.MAILWARD.nameserver.zone),
        "versions": request.scope.policy_versions().filter(domain=domain).count(),
        "fetch_command": fetch_command(settings.MAILWARD, domain.name),
        "testing_since": mode_since(request.scope, domain, Mode.TESTING),
    }
    return render(request, "policies/policy.html", context)


@writer_page
def domain_policy_edit(request: ScopedRequest, name: str) -> HttpResponse:
    """Fill in, look at what will change, publish: each step is one POST of the whole form."""
    domain = find_domain(request, name)
    step = request.POST.get("step", "")
    if request.method != "POST":
        return _edit(request, domain, PolicyForm(initial=_without(request, _initial(domain))))
    if step == "propose":
        return _propose(request, domain)
    form = PolicyForm(request.POST)
    if not form.is_valid() or step == "edit":
        return _edit(request, domain, form)
    if step == "publish":
        return _publish(request, domain, form)
    return _review(request, domain, form)


@reader_page
def domain_history(request: ScopedRequest, name: str) -> HttpResponse:
    domain, number = find_domain(request, name), 1
    with suppress(ValueError):
        number = max(1, int(request.GET.get("page", "1")[:9]))
    entries, pages = history(request.scope, domain, number=number)
    page = {"number": min(number, pages), "pages": pages}
    context = {"domain": domain, "tab": "policy", "entries": entries, "page": page}
    return render(request, "policies/history.html", context)


@reader_page
def domain_events(request: ScopedRequest, name: str) -> HttpResponse:
    domain, number = find_domain(request, name), 1
    with suppress(ValueError):
        number = max(1, int(request.GET.get("page", "1")[:9]))
    events, pages = events_of(request.scope, domain, number=number)
    page = {"number": min(number, pages), "pages": pages}
    context = {"domain": domain, "tab": "policy", "events": events, "page": page}
    return render(request, "policies/events.html", context)


@writer_page
@require_POST
def domain_restore(request: ScopedRequest, name: str, number: int) -> HttpResponse:
    """One click, unless it would lock mail out now."""
    domain = find_domain(request, name)
    try:
        old = request.scope.policy_versions().get(domain=domain, number=number)
    except PolicyVersion.DoesNotExist:
        raise Http404 from None
    based_on = domain.current_version.number if domain.current_version else 0
    form = PolicyForm(PolicyForm.data_of(old, based_on=based_on, reason=f"Restored version {number}"))
    if not form.is_valid():
        return _edit(request, domain, form)
    return _publish(request, domain, form, is_first_try=True)


def _edit(request: ScopedRequest, domain: Domain, form: PolicyForm) -> HttpResponse:
    context = {"domain": domain, "tab": "policy", "form": form}
    return render(request, "policies/edit.html", context)


def _propose(request: ScopedRequest, domain: Domain) -> HttpResponse:
    """The form as it was filled in, with the live MX hosts in place of those in it."""
    proposal = propose_for([domain.name])[domain.name]
    values = {
        key: request.POST.get(key, "") for key in ("mode", "mx", "age", "other_age", "reason", "based_on")
    }
    if proposal.hosts:
        values["mx"] = "\n".join(proposal.hosts)
        messages.success(request, "These are the live MX hosts.")
    if proposal.reason:
        messages.warning(request, f"{proposal.reason[0].upper()}{proposal.reason[1:]}.")
    if proposal.patterns:
        wider = ", ".join(proposal.patterns)
        messages.info(
            request, f"The hosts are {proposal.provider}’s. To cover hosts that it may add: {wider}"
        )
    return _edit(request, domain, PolicyForm(initial=values))


def _review(
    request: ScopedRequest,
    domain: Domain,
    form: PolicyForm,
    refusals: tuple[Refusal, ...] | None = None,
    *,
    is_again: bool = False,
) -> HttpResponse:
    """`refusals`: where they are known already. `is_again`: the person wanted to publish in spite of them."""
    policy, current = _policy(request, domain, form), domain.current_version
    if refusals is None:
        refusals = _refusals(domain, policy)
    text = serialise_policy(policy)
    situation = Situation(
        live=propose_for([domain.name])[domain.name],
        current=current,
        testing_since=mode_since(request.scope, domain, Mode.TESTING),
        now=clock.now(),
        problems=_problems(request, domain),
        has_reports=last_reported_day(request.scope, domain.pk) is not None,
        against=_against(request, domain),
    )
    context = {
        "domain": domain,
        "tab": "policy",
        "form": form,
        "diff": diff_lines(current.text if current else "", text),
        "is_first": current is None,
        "is_unchanged": current is not None and current.text == text,
        "refusals": refusals,
        "is_again": is_again,
        "remarks": review(policy, situation),
    }
    return render(request, "policies/review.html", context)


def _refusals(domain: Domain, policy: Policy) -> tuple[Refusal, ...]:
    facts = change_facts_for(domain.pk, policy)
    if domain.current_version is not None:
        facts = replace(facts, current=policy_of(domain.current_version))
    return refuse(policy, facts)


def _against(request: ScopedRequest, domain: Domain) -> str:
    row = request.scope.rollouts().filter(domain=domain, state=State.BLOCKED).first()
    # what the change itself is refused for is told of the policy that is on this page
    return "" if row is None or row.codes[:1] == [Code.CHANGE_REFUSED] else row.sentence


def _problems(request: ScopedRequest, domain: Domain) -> tuple[str, ...]:
    causes = [
        (explain_cause(row.cause, row.host, domain.name), row.host)
        for row in problems_of_domain(request.scope, domain.pk)
    ]
    return tuple(f"{cause.title}: {host}" if host else cause.title for cause, host in causes)


def _policy(request: ScopedRequest, domain: Domain, form: PolicyForm) -> Policy:
    """What is to be published: with the extension fields of the version that is restored, else of the present one."""
    policy, number = form.policy(), form.cleaned_data["restored_from"]
    old = request.scope.policy_versions().filter(domain=domain, number=number or 0).first()
    kept = policy_of(old).extensions if old is not None else ()
    return keep_extensions(replace(policy, extensions=kept), domain.current_version)


def _publish(
    request: ScopedRequest, domain: Domain, form: PolicyForm, *, is_first_try: bool = False
) -> HttpResponse:
    """`is_first_try`: nobody has seen the review yet."""
    policy = _policy(request, domain, form)
    try:
        version = change_policy(
            request.scope.organisation_id,
            domain.pk,
            policy,
            change_facts_for(domain.pk, policy),
            author_id=request.scope.user_id,
            reason=form.cleaned_data["reason"],
            based_on=form.cleaned_data["based_on"],
            restored_from=form.cleaned_data["restored_from"],
            is_forced=form.cleaned_data["confirm"] == domain.name,
        )
    except ChangeRefused as error:
        return _review(request, domain, form, error.refusals, is_again=not is_first_try)
    except PolicyUnchanged:
        messages.info(request, "Nothing changed: this is what is served now.")
        return redirect("domain-policy", domain.name)
    except ChangedMeanwhile:
        messages.error(
            request, "Somebody else published another version meanwhile. Look at it, then change it again."
        )
        return redirect("domain-policy", domain.name)
    return _published(request, domain, version)


def _published(request: ScopedRequest, domain: Domain, version: PolicyVersion) -> HttpResponse:
    messages.success(request, f"Version {version.number} is on its way: see below how far it has come.")
    return redirect("domain-policy", domain.name)


def _without(request: ScopedRequest, initial: dict[str, object]) -> dict[str, object]:
    """As a link asks for it that takes an `mx` line out."""
    gone = read_text(request, "without", MOST_SEARCHED)
    lines = [line for line in str(initial["mx"]).splitlines() if line != gone]
    return initial | {"mx": "\n".join(lines)}


def _initial(domain: Domain) -> dict[str, object]:
    if domain.current_version is not None:
        return PolicyForm.initial_of(domain.current_version)
    proposal = propose_for([domain.name])[domain.name]
    return {
        "mode": Mode.TESTING.value,
        "mx": "\n".join(proposal.hosts),
        "age": str(STARTING_MAX_AGE),
        "based_on": 0,
    }
