"""What could not be read: shown, downloaded, read again after an upgrade."""

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from mailward.core.tlsrpt.deviations import DEVIATIONS
from mailward.ingest.reread import reread
from mailward.store.models import Door, QuarantinedMessage
from mailward.store.queries.quarantine import explain_reason, find_quarantined, list_quarantined
from mailward.web.access import ScopedRequest, reader_page, writer_page
from mailward.web.download import attachment, raw_extension
from mailward.web.pages.quarantine.preview import preview
from mailward.web.querystring import read_number


@reader_page
def quarantine_list(request: ScopedRequest) -> HttpResponse:
    page = list_quarantined(request.scope, read_number(request, "page", most=10**9) or 1)
    return render(request, "quarantine/list.html", {"page": page})


@reader_page
def quarantine_detail(request: ScopedRequest, quarantine_id: int) -> HttpResponse:
    item = _find(request, quarantine_id)
    content = bytes(item.raw.content)
    info = DEVIATIONS.get(item.reason)
    context = {
        "item": item,
        "reason": explain_reason(item.reason),
        "section": info.section if info else "",
        "door": Door(item.raw.door).label,
        "size": len(content),
        "preview": preview(content),
    }
    return render(request, "quarantine/detail.html", context)


@reader_page
def quarantine_raw(request: ScopedRequest, quarantine_id: int) -> HttpResponse:
    item = _find(request, quarantine_id)
    content = bytes(item.raw.content)
    extension = raw_extension(content, is_mail=item.raw.door == Door.SMTP)
    return attachment(content, item.raw.name or f"quarantined-{item.pk}.{extension}")


@writer_page
@require_POST
def quarantine_again(request: ScopedRequest, quarantine_id: int) -> HttpResponse:
    """Read it again; where it is a report now, it leaves quarantine."""
    item = _find(request, quarantine_id)
    try:
        stored = async_to_sync(reread)(item.pk)
    except QuarantinedMessage.DoesNotExist:  # somebody was quicker
        raise Http404 from None
    if stored.refused:
        messages.error(request, f"It was read and could not be stored: {stored.refused}")
        return redirect("quarantine-detail", item.pk)
    new, copies = stored.new, stored.copies
    if stored.quarantine_id is not None:
        text = "It was read again, and still nothing can be made of it."
        if stored.report_ids:
            text = f"It was read in part: {_say(new, 'new')}, {_say(copies, 'known')}. The rest stays here."
        messages.warning(request, text)
        return redirect("quarantine-detail", item.pk)
    messages.success(
        request, f"It was read and left quarantine: {_say(new, 'new')}, {_say(copies, 'known')}."
    )
    if len(stored.report_ids) == 1:
        return redirect("report-detail", stored.report_ids[0])
    return redirect("quarantine-list")


def _say(number: int, kind: str) -> str:
    return f"{number:,} {kind} report{'' if number == 1 else 's'}"


def _find(request: ScopedRequest, quarantine_id: int) -> QuarantinedMessage:
    item = find_quarantined(request.scope, quarantine_id)
    if item is None:
        raise Http404
    return item
