"""What every page of a signed-in person shows: their organisations, the navigation's numbers, the banner."""

from django.conf import settings
from django.http import HttpRequest

from mailward.store.models import ServiceState
from mailward.store.queries.accounts import nobody_has_an_account, organisations_of
from mailward.store.queries.certificates import own_name_trouble
from mailward.store.queries.health import problem_count, runs_installation
from mailward.store.scope import Scope
from mailward.store.services.notifications import CLOCK, RELAY


def frame(request: HttpRequest) -> dict[str, object]:
    scope: Scope | None = getattr(request, "scope", None)
    if scope is None:
        return {
            "scope": None,
            "relay_configured": bool(settings.MAILWARD.relay.host),
            "is_first_start": nobody_has_an_account(),
        }
    return {
        "scope": scope,
        "memberships": organisations_of(scope.user_id),
        "relay_configured": bool(settings.MAILWARD.relay.host),
        "relay_trouble": relay_trouble(),
        "clock_trouble": clock_trouble(),
        "own_name_trouble": _own_name_trouble(),
        "health_problems": problem_count(settings.MAILWARD.doctor.every_hours)
        if runs_installation(scope)
        else None,
        "open_problem_count": scope.problems().filter(closed_at=None).count(),
    }


def clock_trouble() -> str:
    """What others say of the machine's clock; empty: nothing bad."""
    wrong = ServiceState.objects.filter(name__startswith=CLOCK, ok=False).order_by("name")
    return wrong.values_list("detail", flat=True).first() or ""


def _own_name_trouble() -> tuple[str, str]:
    ours = settings.MAILWARD
    return own_name_trouble(ours.needed_names) if ours.acme.directories else ("", "")


def relay_trouble() -> str:
    """Why nobody can be told anything by mail at present; empty where mail works."""
    if not settings.MAILWARD.relay.host:
        return "None is configured, so nobody is told about problems by mail."
    state = ServiceState.objects.filter(name=RELAY, ok=False).first()
    if state is None:
        return ""
    return f"Nobody is told about problems by mail: {state.detail or 'no answer'}"
