"""Imports: a list is brought, looked at, carried out, and its records are taken away as a file."""

from contextlib import suppress

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from mailward.core.importing.listing import Unreadable
from mailward.core.importing.reading import MAX_BYTES
from mailward.core.importing.verdict import ADDED, Verdict
from mailward.monitor.writing import Form, write
from mailward.net import clock
from mailward.net.listing import read_listing
from mailward.store.models import DomainImport, ImportState
from mailward.store.queries.imports import count_verdicts, list_imports, list_rows
from mailward.store.services import importing
from mailward.store.services.importing import say_automatic
from mailward.web.access import ScopedRequest, reader_page, writer_page
from mailward.web.pages.many.forms import ImportForm
from mailward.web.querystring import MOST_SEARCHED, read_text
from mailward.worker.publishing import lines_of

_MOVING = (ImportState.LOOKING, ImportState.RUNNING)
LABELS = {
    Verdict.NEW: "New",
    Verdict.TAKEOVER: "Taken over",
    Verdict.WITHOUT_POLICY: "Without a policy",
    Verdict.THERE: "There already",
    Verdict.REFUSED: "Refused",
    Verdict.UNREADABLE: "Not readable",
}
BADGES = {
    Verdict.NEW: "ok",
    Verdict.TAKEOVER: "info",
    Verdict.WITHOUT_POLICY: "warn",
    Verdict.REFUSED: "bad",
    Verdict.UNREADABLE: "bad",
}


@writer_page
def domain_import(request: ScopedRequest) -> HttpResponse:
    if request.method != "POST":
        return _form(request, ImportForm(request.scope))
    form = ImportForm(request.scope, request.POST, request.FILES)
    if not form.is_valid():
        return _form(request, form)
    file = form.cleaned_data["file"]
    try:
        listing = read_listing(file.read(MAX_BYTES + 1), file.name, form.cleaned_data["origin"])
        made = importing.begin(
            request.scope.organisation_id,
            request.scope.user_id,
            listing,
            file.name,
            int(form.cleaned_data["profile"] or 0) or None,
        )
    except Unreadable as error:
        form.add_error("file", f"It cannot be read: {error}.")
        return _form(request, form)
    except importing.TooManyImports:
        form.add_error(
            "file", f"There are {importing.MAX_OPEN} imports under way: carry them out, or drop them."
        )
        return _form(request, form)
    except importing.ImportEmpty:
        form.add_error("file", "It names no domain.")
        return _form(request, form)
    if listing.more_refused:
        messages.warning(request, f"{listing.more_refused:,} more rows that cannot be read are not listed.")
    return redirect("import-detail", made.pk)


def _form(request: ScopedRequest, form: ImportForm) -> HttpResponse:
    return render(request, "many/import_new.html", {"form": form, "imports": list_imports(request.scope)})


@reader_page
def import_detail(request: ScopedRequest, import_id: int) -> HttpResponse:
    made = _find(request, import_id)
    number, verdict = 1, None
    with suppress(ValueError):
        number = int(request.GET.get("page", "1")[:9])
    with suppress(ValueError):
        verdict = Verdict(request.GET.get("show", ""))
    counts = count_verdicts(made)
    search = read_text(request, "q", MOST_SEARCHED)
    page = list_rows(made, verdict, number, search)
    context = {
        "made": made,
        "state": ImportState(made.state),
        "is_moving": made.state in _MOVING,
        "total": sum(counts.values()),
        "left": counts.get("", 0),
        "adding": sum(counts.get(each, 0) for each in ADDED),
        "added": made.rows.filter(done_at__isnull=False, verdict__in=ADDED).count(),
        "without_policy": counts.get(Verdict.WITHOUT_POLICY, 0),
        "shown": [(each, label, counts.get(each, 0)) for each, label in LABELS.items()],
        "show": verdict,
        "search": search,
        "page": page,
        "rows": [(row, *_label(row.verdict), say_automatic(row)) for row in page.rows],
        "has_domains": made.rows.filter(domain__isnull=False).exists(),
    }
    return render(request, "many/import.html", context)


def _label(verdict: str) -> tuple[str, str]:
    if verdict not in set(Verdict):
        return "Not looked at yet", "unknown"
    return LABELS[Verdict(verdict)], BADGES.get(Verdict(verdict), "unknown")


def _find(request: ScopedRequest, import_id: int) -> DomainImport:
    try:
        return request.scope.domain_imports().select_related("profile", "author").get(pk=import_id)
    except DomainImport.DoesNotExist:
        raise Http404 from None


@writer_page
@require_POST
def import_act(request: ScopedRequest, import_id: int) -> HttpResponse:
    made = _find(request, import_id)
    match request.POST.get("act", ""):
        case "start":
            is_done = importing.start(request.scope.organisation_id, made.pk)
        case "again":
            is_done = importing.look_again(request.scope, made.pk)
        case "drop":
            is_done = importing.drop(request.scope, made.pk)
        case _:
            return HttpResponse("Nothing like that can be done.", status=400, content_type="text/plain")
    if not is_done and made.created_at <= clock.now() - importing.DRY_RUN_LASTS:
        text = (
            "The dry run is older than a day, and what is live elsewhere may have changed: upload it again."
        )
        messages.error(request, text)
    elif not is_done:
        messages.warning(request, "That was not possible any more. See how it stands.")
    return redirect("import-detail", made.pk)


@reader_page
def import_records(request: ScopedRequest, import_id: int, form: str) -> HttpResponse:
    """What the imported domains have to publish, as a file."""
    made = _find(request, import_id)
    if form not in list(Form):
        raise Http404
    ids = made.rows.filter(domain__isnull=False).values("domain_id")
    pieces = write(Form(form), lines_of(settings.MAILWARD, request.scope.domains().filter(pk__in=ids)))
    headers = {"Content-Disposition": f'attachment; filename="mailward-records-{made.pk}.{form}"'}
    return HttpResponse("".join(pieces), content_type="text/plain; charset=utf-8", headers=headers)
