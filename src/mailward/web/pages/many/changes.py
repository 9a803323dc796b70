"""One change of a profile: what it does to each domain, how far it has come, and its buttons."""

from contextlib import suppress

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from mailward.core.mtasts.change import describe
from mailward.store.models import ChangeState, Effect, ProfileChange, ProfileChangeDomain
from mailward.store.queries.profiles import WEAKENED, count_effects, count_told, list_effects
from mailward.store.services import profiles
from mailward.store.services.policies import policy_of
from mailward.web.access import ScopedRequest, reader_page, writer_page
from mailward.web.querystring import MOST_SEARCHED, read_text

_MOVING = (ChangeState.PREPARING, ChangeState.RUNNING, ChangeState.UNDOING)
_BADGES = {
    ChangeState.DONE: "ok",
    ChangeState.STOPPED: "bad",
    ChangeState.RUNNING: "info",
    ChangeState.WAITING: "info",
    ChangeState.UNDOING: "warn",
}


@reader_page
def change_detail(request: ScopedRequest, change_id: int) -> HttpResponse:
    change = _find(request, change_id)
    number, show = 1, request.GET.get("show", "")
    with suppress(ValueError):
        number = int(request.GET.get("page", "1")[:9])
    search = read_text(request, "q", MOST_SEARCHED)
    state = ChangeState(change.state)
    kept = show if show in (*Effect.values, WEAKENED) else None
    counts, page = count_effects(change), list_effects(change, kept, number, search)
    context = {
        "change": change,
        "state": state,
        "badge": _BADGES.get(state, "unknown"),
        "is_moving": state in _MOVING,
        "counts": counts,
        "told": count_told(change) if counts.applied else None,
        "changing": counts.of(Effect.CHANGED),
        "page": page,
        "rows": [(each, _say_effect(change, each)) for each in page.rows],
        "show": kept,
        "search": search,
        "shown": [(each, each.label, counts.of(each)) for each in Effect],
        "may_undo": state
        in (ChangeState.RUNNING, ChangeState.WAITING, ChangeState.STOPPED, ChangeState.DONE),
    }
    return render(request, "many/change.html", context)


def _say_effect(change: ProfileChange, row: ProfileChangeDomain) -> str:
    """What of its policy becomes another; empty: nothing does."""
    policy = profiles.policy_for(change, row.before)
    if row.effect != Effect.CHANGED or policy is None:
        return ""
    return describe(policy_of(row.before) if row.before is not None else None, policy)


def _find(request: ScopedRequest, change_id: int) -> ProfileChange:
    try:
        return request.scope.profile_changes().select_related("profile", "author").get(pk=change_id)
    except ProfileChange.DoesNotExist:
        raise Http404 from None


@writer_page
@require_POST
def change_act(request: ScopedRequest, change_id: int) -> HttpResponse:
    change = _find(request, change_id)
    match request.POST.get("act", ""):
        case "start":
            is_done = profiles.start(request.scope, change.pk)
        case "stop":
            is_done = profiles.stop(request.scope, change.pk, f"{request.user} stopped it.")
        case "undo":
            is_done = profiles.undo(request.scope, change.pk)
        case "drop":
            is_done = profiles.drop(request.scope, change.pk)
        case _:
            return HttpResponse("Nothing like that can be done.", status=400, content_type="text/plain")
    if not is_done:
        messages.warning(request, "That was not possible any more. See how it stands.")
    return redirect("change-detail", change.pk)
