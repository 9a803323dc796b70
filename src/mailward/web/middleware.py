"""Puts the scope of the signed-in person on the request."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from mailward.store.models import User
from mailward.store.scope import Scope, scope_of

ORGANISATION = "organisation"
"""The session's key for the organisation that a person of several works in."""


class ScopeMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.scope = _scope(request)  # type: ignore[attr-defined]  # ScopedRequest says so to the views
        return self.get_response(request)


def _scope(request: HttpRequest) -> Scope | None:
    if not isinstance(request.user, User):  # anonymous; evaluates the lazy user
        return None
    chosen = request.session.get(ORGANISATION)
    return (scope_of(request.user, chosen) if chosen else None) or scope_of(request.user)
