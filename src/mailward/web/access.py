"""Who may see which page.

Anonymous: to the login. A stranger, who belongs to another organisation: 404, because the scope holds nothing
of theirs. A reader on a page that writes: 403. Each view carries exactly one of the decorators, and the
contract test of the URLs walks them all as each kind of person.
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.views.defaults import permission_denied

from mailward.store.models import Domain, User
from mailward.store.queries.health import runs_installation
from mailward.store.scope import Scope

P = ParamSpec("P")


class ScopedRequest(HttpRequest):
    """What a decorated view gets: somebody is signed in and belongs to an organisation."""

    scope: Scope
    user: User


ScopedView = Callable[Concatenate[ScopedRequest, P], HttpResponseBase]
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def reader_page(view: ScopedView[P]) -> View[P]:
    """Everybody of the organisation may see it; only GET and HEAD, so that nothing is written by a reader."""
    return _guarded(view, allowed=lambda _scope: True, methods=("GET", "HEAD"))


def writer_page(view: ScopedView[P]) -> View[P]:
    """For those who may write: owners and administrators."""
    return _guarded(view, allowed=lambda scope: scope.may_write)


def owner_page(view: ScopedView[P]) -> View[P]:
    """For those who may manage people."""
    return _guarded(view, allowed=lambda scope: scope.may_manage_people)


def operator_page(view: ScopedView[P]) -> View[P]:
    """For those who run the installation: what is shown there is no tenant's."""
    return _guarded(view, allowed=runs_installation)


def own_page(view: ScopedView[P]) -> View[P]:
    """What everybody may change about themselves, readers too."""
    return _guarded(view, allowed=lambda _scope: True)


def find_domain(request: ScopedRequest, name: str) -> Domain:
    """The domain of that name in the person's organisation, with the policy it serves; else 404."""
    try:
        return request.scope.domains().select_related("current_version").get(name=name)
    except Domain.DoesNotExist:
        raise Http404 from None


def _guarded(
    view: ScopedView[P], *, allowed: Callable[[Scope], bool], methods: tuple[str, ...] | None = None
) -> View[P]:
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        scope: Scope | None = getattr(request, "scope", None)
        if scope is None or not allowed(scope):
            # not raised: it happens to every reader, and the log would hold a traceback each time
            return permission_denied(request, PermissionDenied())
        if methods is not None and request.method not in methods:
            return HttpResponse(status=405, headers={"Allow": ", ".join(methods)})
        # the lines above are what ScopedRequest says
        return view(cast("ScopedRequest", request), *args, **kwargs)

    update_wrapper(guarded, view)
    return guarded
