"""Puts the scope of the signed-in person on the request."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from mailward.store.models import User
from mailward.store.scope import Scope, scope_of


class ScopeMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.scope = _scope(request)  # type: ignore[attr-defined]  # ScopedRequest says so to the views
        return self.get_response(request)


def _scope(request: HttpRequest) -> Scope | None:
    return scope_of(request.user) if isinstance(request.user, User) else None
