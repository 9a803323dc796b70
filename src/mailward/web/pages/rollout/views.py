"""The readiness of one domain, and the list of all."""

from contextlib import suppress
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from mailward.core.explain.catalogue import explain_result
from mailward.core.explain.rollout import LEFT, STATES, say_reason
from mailward.core.rollout.evidence import Evidence
from mailward.core.rollout.verdict import AGAINST, State, judge
from mailward.store.models import AutomaticChoice, Rollout
from mailward.store.queries.readiness import gather
from mailward.store.queries.rollouts import (
    PAGE_SIZE,
    choices_shown,
    count_automatic,
    count_states,
    find_rollouts,
    history_of,
    list_rollouts,
)
from mailward.store.services import automatic, rollout
from mailward.store.services.leaving import has_left
from mailward.store.services.policies import ChangedMeanwhile, ChangeRefused
from mailward.web.access import ScopedRequest, find_domain, reader_page, writer_page
from mailward.web.live import change_facts_for
from mailward.web.pages.rollout.forms import ChoiceForm, ListedForm, PromoteForm
from mailward.web.querystring import MOST_SEARCHED, read_text

BADGES = {
    State.NO_POLICY: "unknown",
    State.NONE: "unknown",
    State.BLOCKED: "bad",
    State.WAITING: "warn",
    State.READY: "info",
    State.ENFORCED: "ok",
    State.AT_RISK: "bad",
}
_SHOWN_REPORTERS = 20
_SHOWN_REFUSED = 20


@reader_page
def rollout_list(request: ScopedRequest) -> HttpResponse:
    search, number, state = read_text(request, "q", MOST_SEARCHED), 1, None
    with suppress(ValueError):
        number = int(request.GET.get("page", "1")[:9])
    with suppress(ValueError):
        state = State(request.GET.get("show", ""))
    page = list_rollouts(request.scope, search=search, state=state, number=number)
    counts = count_states(request.scope)
    context = {
        "page": page,
        "rows": [(row, *_label(row.state)) for row in page.rows],
        "search": search,
        "show": state,
        "shown": [(each, STATES[each][0], counts.get(each, 0)) for each in State],
        "total": sum(counts.values()),
        "is_narrowed": bool(search) or state is not None,
        "automatic": count_automatic(find_rollouts(request.scope, search=search, state=state)),
        "many": ListedForm(initial={"q": search, "show": state or ""}),
        "choices": [(each, say_kept(each)) for each in choices_shown(request.scope)],
    }
    return render(request, "rollout/list.html", context)


@writer_page
@require_POST
def rollout_choose(request: ScopedRequest) -> HttpResponse:
    """For the ticked domains, or all that the list has by its filter."""
    form = ListedForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"Not kept. {next(iter(form.errors.values()))[0]}")
        return redirect("rollout-list")
    values = form.cleaned_data
    state = State(values["show"]) if values["show"] else None
    found = find_rollouts(request.scope, search=values["q"], state=state)
    if not form.is_for_all:
        found = found.filter(name__in=request.POST.getlist("domain")[:PAGE_SIZE])
    ids = list(found.values_list("pk", flat=True))
    reason = f"For {len(ids):,} domain{'' if len(ids) == 1 else 's'} at once."
    if ids:
        kept = automatic.choose_for(request.scope, ids, form.choice(), reason=reason)
        messages.success(request, say_kept(kept))
    else:
        messages.error(request, "No domain is ticked.")
    chosen = urlencode({key: values[key] for key in ("q", "show") if values[key]})
    return redirect(f"{reverse('rollout-list')}{'?' if chosen else ''}{chosen}")


def say_kept(row: AutomaticChoice) -> str:
    """How far a choice for many domains has come."""
    choice = automatic.chosen(row)
    if row.finished_at is None:
        return (
            f"{choice}: kept for {row.done:,} of {row.total:,} domains so far. It goes on by itself, after a restart "
            "too."
        )
    rest = f"; for {row.total - row.changed:,} nothing had to change" if row.changed < row.total else ""
    return f"{choice}: kept for {row.changed:,} domain{'' if row.changed == 1 else 's'}{rest}."


def _label(state: State | None) -> tuple[str, str, str]:
    if state is None:
        return "Not judged yet", "", "unknown"
    return (*STATES[state], BADGES[state])


@reader_page
def domain_rollout(request: ScopedRequest, name: str) -> HttpResponse:
    return _show(request, name)


def _show(
    request: ScopedRequest, name: str, promote: PromoteForm | None = None, choice: ChoiceForm | None = None
) -> HttpResponse:
    domain = find_domain(request, name)
    conditions = settings.MAILWARD.rollout
    evidence = gather([domain.pk], conditions)[domain.pk]
    verdict = judge(evidence, conditions)
    row = request.scope.rollouts().filter(domain=domain).first() or Rollout(domain=domain)
    label, sentence = STATES[verdict.state]
    if has_left(domain) and verdict.state is State.NO_POLICY:
        label, sentence = LEFT
    version, probe = domain.current_version, evidence.probe
    context = {
        "domain": domain,
        "tab": "rollout",
        "evidence": evidence,
        "conditions": conditions,
        "state": verdict.state,
        "label": label,
        "sentence": sentence,
        "badge": BADGES[verdict.state],
        "reasons": [(say_reason(each), each.code, each.code in AGAINST) for each in verdict.reasons],
        "refused": _refused(evidence),
        "more_refused": max(0, len(evidence.refused) - _SHOWN_REFUSED),
        "reporters": evidence.reporters[:_SHOWN_REPORTERS],
        "more_reporters": max(0, len(evidence.reporters) - _SHOWN_REPORTERS),
        "newer": version if probe and version and version.created_at > probe.checked_at else None,
        "row": row,
        "ready_at": rollout.ready_at(row),
        "old_copies": rollout.say_old_copies(evidence.max_age_seconds),
        "promote": promote or PromoteForm(initial={"based_on": version.number if version else 0}),
        "choice": choice
        or ChoiceForm(
            initial={
                "is_automatic": row.is_automatic,
                "hold_days": row.hold_days,
                "steps_back": row.steps_back,
            }
        ),
        "events": history_of(request.scope, domain.pk),
    }
    return render(request, "rollout/domain.html", context)


def _refused(evidence: Evidence) -> list[tuple[object, str]]:
    return [(row, explain_result(row.result_type).title) for row in evidence.refused[:_SHOWN_REFUSED]]


@writer_page
@require_POST
def domain_promote(request: ScopedRequest, name: str) -> HttpResponse:
    domain = find_domain(request, name)
    form = PromoteForm(request.POST)
    if not form.is_valid():
        return _show(request, name, promote=form)
    wanted = rollout.enforcing(domain.pk)
    if wanted is None:
        messages.error(request, "Not enforced: the policy is not in testing mode.")
        return redirect("domain-rollout", domain.name)
    try:
        version = rollout.promote(
            request.scope,
            domain.pk,
            change_facts_for(domain.pk, wanted[0]),
            reason=form.cleaned_data["reason"],
            based_on=form.cleaned_data["based_on"],
            conditions=settings.MAILWARD.rollout,
        )
    except rollout.NotReady as error:
        messages.error(request, f"Not enforced. {error}")
    except ChangeRefused as error:
        messages.error(request, f"Refused. {error}")
    except ChangedMeanwhile:
        messages.error(request, "Somebody published another version meanwhile. Look at it first.")
    else:
        messages.success(request, f"Version {version.number} enforces the policy.")
    return redirect("domain-rollout", domain.name)


@writer_page
@require_POST
def domain_rollout_choose(request: ScopedRequest, name: str) -> HttpResponse:
    domain = find_domain(request, name)
    form = ChoiceForm(request.POST)
    if not form.is_valid():
        return _show(request, name, choice=form)
    rollout.choose(request.scope, [domain.pk], **form.cleaned_data)
    messages.success(request, "Saved.")
    return redirect("domain-rollout", domain.name)
