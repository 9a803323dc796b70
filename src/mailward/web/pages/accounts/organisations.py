"""Which of several organisations a person works in: kept in the session, and asked of the scope each time."""

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from mailward.store.scope import scope_of
from mailward.web.access import ScopedRequest, own_page
from mailward.web.middleware import ORGANISATION


@own_page
@require_POST
def choose(request: ScopedRequest, organisation_id: int) -> HttpResponse:
    """Go on in another organisation, at its domains or where the person was told 404."""
    scope = scope_of(request.user, organisation_id)
    if scope is None:
        raise Http404
    request.session[ORGANISATION] = organisation_id
    messages.success(request, f"You now work in {scope.organisation().name}.")
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return redirect(wanted)
    return redirect("domain-list")
