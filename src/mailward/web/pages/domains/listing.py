"""The list of domains."""

from contextlib import suppress

from django.http import HttpResponse
from django.shortcuts import render

from mailward.store.queries.domains import SESSION_DAYS, Show, list_domains
from mailward.web.access import ScopedRequest, reader_page
from mailward.web.querystring import MOST_SEARCHED, read_text

_SHOWN = (
    (Show.ALL, "All"),
    (Show.PROBLEMS, "With open problems"),
    (Show.RECORDS, "Records to look at"),
    (Show.UNSERVED, "No policy served"),
)


@reader_page
def domain_list(request: ScopedRequest) -> HttpResponse:
    search = read_text(request, "q", MOST_SEARCHED)
    show, number = Show.ALL, 1
    with suppress(ValueError):
        show = Show(request.GET.get("show", Show.ALL))
    with suppress(ValueError):
        number = int(request.GET.get("page", "1")[:9])
    context = {
        "page": list_domains(request.scope, search=search, show=show, number=number),
        "search": search,
        "show": show,
        "shown": _SHOWN,
        "days": SESSION_DAYS,
        "is_narrowed": bool(search) or show is not Show.ALL,
    }
    return render(request, "domains/list.html", context)
