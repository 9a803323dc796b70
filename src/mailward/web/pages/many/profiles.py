"""Profiles: the list, one with its members and changes, and a new change."""

from contextlib import suppress

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from mailward.store.models import ChangeState, PolicyProfile
from mailward.store.queries.profiles import list_members, list_profiles, missing_names
from mailward.store.queries.rollouts import choices_shown, count_automatic
from mailward.store.services import automatic, profiles
from mailward.web.access import ScopedRequest, reader_page, writer_page
from mailward.web.pages.many.forms import ChangeForm, MembersForm, ProfileForm
from mailward.web.pages.rollout.forms import ManyForm
from mailward.web.pages.rollout.views import say_kept
from mailward.web.querystring import MOST_SEARCHED, read_text

_CHANGES = 20
_NAMED = 5
_DAY_SECONDS = 86_400


@reader_page
def profile_list(request: ScopedRequest) -> HttpResponse:
    listed = [(each, _say_state(each)) for each in list_profiles(request.scope)]
    return render(request, "many/profiles.html", {"profiles": listed})


def _say_state(profile: PolicyProfile) -> str:
    latest: str | None = profile.latest  # type: ignore[attr-defined]  # annotated by list_profiles
    return str(ChangeState(latest).label) if latest else "none"


@writer_page
def profile_new(request: ScopedRequest) -> HttpResponse:
    form = ProfileForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = profiles.create_profile(request.scope, form.cleaned_data["name"], form.policy())
        except profiles.ProfileExists:
            form.add_error("name", "There is a profile of this name.")
        else:
            return redirect("profile-detail", made.pk)
    return render(request, "many/profile_new.html", {"form": form})


@reader_page
def profile_detail(request: ScopedRequest, profile_id: int) -> HttpResponse:
    return _show(request, _find(request, profile_id))


def _find(request: ScopedRequest, profile_id: int) -> PolicyProfile:
    try:
        return request.scope.profiles().get(pk=profile_id)
    except PolicyProfile.DoesNotExist:
        raise Http404 from None


def _show(
    request: ScopedRequest,
    profile: PolicyProfile,
    change: ChangeForm | None = None,
    members: MembersForm | None = None,
    many: ManyForm | None = None,
) -> HttpResponse:
    number = 1
    with suppress(ValueError):
        number = int(request.GET.get("page", "1")[:9])
    form = change or ChangeForm(
        initial={
            "mode": profile.mode,
            "max_age_days": max(1, profile.max_age_seconds // _DAY_SECONDS),
            "mx": "\n".join(profile.mx),
            "wave_hours": 24,
        }
    )
    search = read_text(request, "q", MOST_SEARCHED)
    context = {
        "profile": profile,
        "page": list_members(request.scope, profile.pk, number, search),
        "search": search,
        "members_total": profile.members.count(),
        "changes": profile.changes.select_related("author").order_by("-pk")[:_CHANGES],
        "is_under_way": profiles.under_way(profile),
        "form": form,
        "members": members or MembersForm(),
        "many": many or ManyForm(initial={"hold_days": profile.hold_days}),
        "choices": [(each, say_kept(each)) for each in choices_shown(request.scope, profile.pk)],
        "automatic": count_automatic(request.scope.domains().filter(profile_member__profile=profile)),
    }
    return render(request, "many/profile.html", context)


@writer_page
@require_POST
def profile_members(request: ScopedRequest, profile_id: int) -> HttpResponse:
    profile = _find(request, profile_id)
    form = MembersForm(request.POST)
    if not form.is_valid():
        return _show(request, profile, members=form)
    names = None if form.cleaned_data["everything"] else form.cleaned_data["names"]
    missing = missing_names(request.scope, names) if names else []
    if missing:
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        messages.warning(request, f"Not domains of yours: {', '.join(missing[:_NAMED])}{more}.")
    count = profiles.add_members(request.scope, profile.pk, names)
    if count:
        whose = "domain added. Its policy is" if count == 1 else "domains added. Their policies are"
        messages.success(request, f"{count:,} {whose} as before.")
    elif not names or len(missing) < len(names):
        messages.info(request, "They are in the profile already.")
    return redirect("profile-detail", profile.pk)


@writer_page
@require_POST
def profile_automatic(request: ScopedRequest, profile_id: int) -> HttpResponse:
    profile = _find(request, profile_id)
    form = ManyForm(request.POST)
    if not form.is_valid():
        return _show(request, profile, many=form)
    messages.success(
        request, say_kept(automatic.choose_for_profile(request.scope, profile.pk, form.choice()))
    )
    return redirect("profile-detail", profile.pk)


@writer_page
@require_POST
def profile_remove(request: ScopedRequest, profile_id: int) -> HttpResponse:
    profile = _find(request, profile_id)
    domain = (
        request.scope.domains().filter(name=request.POST.get("domain", "")[:253].replace("\0", "")).first()
    )
    if domain is not None and profiles.remove_member(request.scope, profile.pk, domain.pk):
        messages.success(request, f"{domain.name} is out of the profile. Its policy is as before.")
    return redirect("profile-detail", profile.pk)


@writer_page
@require_POST
def profile_change(request: ScopedRequest, profile_id: int) -> HttpResponse:
    profile = _find(request, profile_id)
    form = ChangeForm(request.POST)
    if not form.is_valid():
        return _show(request, profile, change=form)
    try:
        change = profiles.propose_change(
            request.scope,
            profile.pk,
            form.policy(),
            reason=form.cleaned_data["reason"],
            wave_hours=form.cleaned_data["wave_hours"],
        )
    except profiles.ChangeUnderWay:
        messages.error(request, "A change of this profile is under way. Let it come to its end, or undo it.")
        return redirect("profile-detail", profile.pk)
    return redirect("change-detail", change.pk)
