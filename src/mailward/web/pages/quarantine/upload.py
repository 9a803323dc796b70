"""Files that a person brings: each goes the way of every report, and the page says what became of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, cast

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import render

from mailward.ingest.addresses import ReportAddress, address_of_domain, address_of_organisation
from mailward.ingest.channels.upload import accept_upload
from mailward.ingest.errors import StoreBusy
from mailward.net import clock
from mailward.net.mbox import START as MBOX_START
from mailward.net.mbox import split_mbox
from mailward.store.queries.quarantine import explain_reason
from mailward.store.scope import Scope
from mailward.store.services.incoming import Stored
from mailward.web.access import ScopedRequest, writer_page
from mailward.web.limits import MAX_BODY_BYTES

_SECONDS = 60.0
"""After this no further file is looked at: the person waits, and the proxy in front gives up."""
_MOST_OUTCOMES = 1_000
_BY_IMPORT = "For more, there is `mailward report import` on the server."
_MOST_LINKED = 20
_MOST_LOOKED_AT = 500
_MOST_LISTED = 500
"""Domains offered while typing; beyond that the name is typed."""
_MAX_NAME = 255


class State(StrEnum):
    NEW = "new"
    KNOWN = "known"
    FOREIGN = "foreign"
    PARTLY = "read in part"
    UNREADABLE = "unreadable"
    REFUSED = "not taken"


_BADGES = {
    State.NEW: "ok",
    State.KNOWN: "unknown",
    State.FOREIGN: "warn",
    State.PARTLY: "warn",
    State.UNREADABLE: "bad",
    State.REFUSED: "bad",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file."""

    name: str
    state: State
    text: str
    report_ids: tuple[int, ...] = ()
    reports_left_out: int = 0
    quarantine_id: int | None = None

    @property
    def badge(self) -> str:
        return _BADGES[self.state]


class UploadForm(forms.Form):
    domain = forms.CharField(
        max_length=253,
        required=False,
        label="Domain",
        help_text="Empty: each report goes to the domain that it is about. A name: all are taken as reports "
        "to this domain, and what they say about others is shown as foreign.",
        widget=forms.TextInput(attrs={"list": "domains", "autocapitalize": "none", "spellcheck": "false"}),
    )

    def __init__(self, scope: Scope, data: object = None) -> None:
        super().__init__(data)  # type: ignore[arg-type]  # a QueryDict, or nothing
        self._scope = scope

    def clean_domain(self) -> ReportAddress:
        name = self.cleaned_data["domain"].strip().lower().removesuffix(".")
        if not name:
            return address_of_organisation(self._scope.organisation_id)
        domain = self._scope.domains().filter(name=name).first()
        if domain is None:
            raise forms.ValidationError(f"{name} is not one of your domains. Add it first.")
        return address_of_domain(domain)


@writer_page
def upload(request: ScopedRequest) -> HttpResponse:
    names = list(request.scope.domains().order_by("name").values_list("name", flat=True)[:_MOST_LISTED])
    context: dict[str, object] = {
        "names": names,
        "most_megabytes": MAX_BODY_BYTES // 2**20,
        "most_files": settings.DATA_UPLOAD_MAX_NUMBER_FILES,
    }
    if request.method != "POST":
        form = UploadForm(request.scope)
        form.fields["domain"].initial = request.GET.get("domain", "")[:253]
        return render(request, "quarantine/upload.html", context | {"form": form})
    form = UploadForm(request.scope, request.POST)
    files = request.FILES.getlist("files")
    if not files:
        context["no_files"] = True
    elif form.is_valid():
        outcomes = _accept_all(request.scope, form.cleaned_data["domain"], files)
        context |= {"outcomes": outcomes, "summary": _summarise(outcomes), "form": UploadForm(request.scope)}
        context["has_foreign"] = any(each.state is State.FOREIGN for each in outcomes)
        return render(request, "quarantine/upload.html", context)
    return render(request, "quarantine/upload.html", context | {"form": form})


def _accept_all(
    scope: Scope, address: ReportAddress, files: "Iterable[UploadedFile[bytes]]"
) -> list[Outcome]:
    deadline = clock.monotonic() + _SECONDS
    limit = settings.MAILWARD.reports.max_message_bytes
    outcomes: list[Outcome] = []
    for name, content in _open_all(files, limit):
        if len(outcomes) == _MOST_OUTCOMES:
            outcomes.append(
                Outcome(name, State.REFUSED, f"{_MOST_OUTCOMES} at once are enough. {_BY_IMPORT}")
            )
            break
        if content is None:
            outcomes.append(Outcome(name, State.REFUSED, f"It has more than {limit:,} bytes."))
        elif clock.monotonic() > deadline:
            late = "There was no time left for it. Upload it again by itself."
            outcomes.append(Outcome(name, State.REFUSED, late))
        else:
            outcomes.append(_accept(scope, address, name, content))
    return outcomes


def _open_all(files: "Iterable[UploadedFile[bytes]]", limit: int) -> Iterator[tuple[str, bytes | None]]:
    """Each file by its name, a mailbox message by message; None: it is larger than `limit`."""
    for file in files:
        name = (file.name or "file")[:_MAX_NAME]
        is_mailbox = file.read(len(MBOX_START)) == MBOX_START
        file.seek(0)
        if is_mailbox:
            lines = cast("BinaryIO", file)  # it passes readline on
            for number, message in enumerate(split_mbox(lines, limit), 1):
                yield f"{name[: _MAX_NAME - 10]}#{number}", message
        else:
            yield name, file.read() if (file.size or 0) <= limit else None


def _accept(scope: Scope, address: ReportAddress, name: str, content: bytes) -> Outcome:
    try:
        stored = accept_upload(address, name, content, user_id=scope.user_id)
    except StoreBusy:
        return Outcome(name, State.REFUSED, "The database is busy. Upload it again in a moment.")
    return _describe(scope, name, stored)


def _describe(scope: Scope, name: str, stored: Stored) -> Outcome:
    ids, quarantine_id, why = stored.report_ids, stored.quarantine_id, ""
    if quarantine_id is not None:
        why = _find_why(scope, quarantine_id)
        if not ids:
            return Outcome(name, State.UNREADABLE, why, quarantine_id=quarantine_id)
    looked_at = ids[:_MOST_LOOKED_AT]
    foreign = scope.reports().filter(pk__in=looked_at, domain=None).count()
    state = State.FOREIGN if foreign == len(looked_at) else State.NEW if stored.new else State.KNOWN
    if quarantine_id is not None:
        state = State.PARTLY
    left_out = max(0, len(ids) - _MOST_LINKED)
    text = _say_which(stored.new, stored.copies, foreign, all_foreign=foreign == len(looked_at))
    return Outcome(name, state, f"{text} {why}".strip(), ids[:_MOST_LINKED], left_out, quarantine_id)


def _find_why(scope: Scope, quarantine_id: int) -> str:
    item = scope.quarantined().filter(pk=quarantine_id).values("reason", "detail").first()
    return _say_why(item["reason"], item["detail"]) if item else ""


def _say_which(new: int, known: int, foreign: int, *, all_foreign: bool) -> str:
    """`2 new, 1 that we had already; 1 of them about no domain of yours.`"""
    said = [f"{new} new"] if new else []
    if known:
        said.append(f"{known} that we had already")
    text = ", ".join(said)
    if all_foreign:
        text += ", about no domain of yours"
    elif foreign:
        text += f"; {foreign} of them about no domain of yours"
    return f"{text}."


def _say_why(reason: str, detail: str) -> str:
    text = explain_reason(reason)
    return f"{text.removesuffix('.')}: {detail}." if detail else text


def _summarise(outcomes: list[Outcome]) -> list[tuple[str, State, int]]:
    """Badge, state, number of files; only states that occurred."""
    counts = {state: sum(each.state is state for each in outcomes) for state in State}
    return [(_BADGES[state], state, number) for state, number in counts.items() if number]
