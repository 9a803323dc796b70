"""The records of many domains: how they stand, and to take away."""

import io
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby

from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import render

from mailward.core.suffixes import Suffixes
from mailward.monitor.expected import RecordKey
from mailward.monitor.writing import Form, Line, write
from mailward.store.models import Domain
from mailward.web.access import ScopedRequest, reader_page
from mailward.web.download import attachment
from mailward.web.querystring import read_text
from mailward.worker.publishing import lines_of

SHOWN_DOMAINS = 1_000
_MAX_WORDS = 200
_MAX_WORD = 253
_TYPES = {Form.ZONE: ("text/dns", "zone"), Form.CSV: ("text/csv", "csv"), Form.TEXT: ("text/plain", "txt")}


@reader_page
def domain_records(request: ScopedRequest) -> HttpResponse:
    words = (
        read_text(request, "names", _MAX_WORDS * (_MAX_WORD + 1))
        .lower()
        .replace(",", " ")
        .split()[:_MAX_WORDS]
    )
    only_open = request.GET.get("only") == "open"
    domains = _choose(request.scope.domains(), words)
    wanted = request.GET.get("form", "")
    if wanted == "zones":
        lines = lines_of(settings.MAILWARD, domains, only_open=only_open)
        return attachment(_zip_zones(lines), "mailward-zones.zip", "application/zip")
    with suppress(ValueError):
        form = Form(wanted)
        content_type, extension = _TYPES[form]
        text = "".join(write(form, lines_of(settings.MAILWARD, domains, only_open=only_open)))
        return attachment(text, f"mailward-records.{extension}", f"{content_type}; charset=utf-8")
    return _show(request, domains, words, only_open=only_open)


def _show(
    request: ScopedRequest, domains: QuerySet[Domain], words: list[str], *, only_open: bool
) -> HttpResponse:
    some = domains.filter(pk__in=domains.order_by("name").values("pk")[:SHOWN_DOMAINS])
    lines = lines_of(settings.MAILWARD, some, only_open=only_open)
    rows = [
        (name, {line.record.key.value: line for line in group})
        for name, group in groupby(lines, key=lambda line: line.domain)
    ]
    keys = [key.value for key in RecordKey if any(key.value in row for _, row in rows)]
    query = request.GET.copy()
    query.pop("form", None)
    context = {
        "rows": [(name, [(key, row.get(key)) for key in keys]) for name, row in rows],
        "keys": keys,
        "total": domains.count(),
        "shown": SHOWN_DOMAINS,
        "names": " ".join(words),
        "only_open": only_open,
        "query": query.urlencode(),
    }
    return render(request, "domains/records_page.html", context)


def _choose(domains: QuerySet[Domain], words: list[str]) -> QuerySet[Domain]:
    """Those whose name is one of the words or below it; all without words."""
    if not words:
        return domains
    wanted = Q()
    for word in words:
        wanted |= Q(name=word[:_MAX_WORD].rstrip(".")) | Q(name__endswith="." + word[:_MAX_WORD].rstrip("."))
    return domains.filter(wanted)


def _zip_zones(lines: Iterable[Line]) -> bytes:
    """A file for each registered domain, which most often is a zone."""
    suffixes, zones = Suffixes(), dict[str, list[Line]]()
    for line in lines:
        zones.setdefault(suffixes.registered_domain(line.domain), []).append(line)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for zone, own in sorted(zones.items()):
            archive.writestr(f"{zone}.zone", "".join(write(Form.ZONE, own)))
    return packed.getvalue()
