"""A check of any domain that somebody types in. The worker does it; the page waits."""

from django import forms
from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render

from mailward.core.check.run import run
from mailward.core.names import Domain, InvalidName, parse_domain
from mailward.core.watch.keeping import unpack_facts
from mailward.store.queries import checks
from mailward.store.services import watching
from mailward.web.access import ScopedRequest, own_page, reader_page
from mailward.web.pages.checks.shown import show

_MAX_CHARACTERS = 1_000


class AskForm(forms.Form):
    name = forms.CharField(
        label="Domain",
        max_length=_MAX_CHARACTERS,
        help_text="The part after the @ of mail addresses.",
        widget=forms.TextInput(
            {"placeholder": "example.com", "spellcheck": "false", "autocapitalize": "none", "autofocus": ""}
        ),
    )

    def clean_name(self) -> Domain:
        text: str = self.cleaned_data["name"].strip()
        try:
            return parse_domain(text.rpartition("@")[2])
        except InvalidName as error:
            sentence = str(error)
            raise forms.ValidationError(f"{sentence[:1].upper()}{sentence[1:]}.") from error


@own_page
def check_any(request: ScopedRequest) -> HttpResponse:
    form = AskForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        scope = request.scope
        try:
            asked_id = watching.ask_about(
                scope.organisation_id, scope.user_id, form.cleaned_data["name"], settings.MAILWARD
            )
        except watching.TooManyAsked:
            most = settings.MAILWARD.watch.asks_per_hour
            form.add_error("name", f"You have asked for {most} checks within an hour, which is the most.")
        else:
            return redirect("check-result", asked_id)
    return render(request, "checks/ask.html", {"form": form, "lately": checks.asked_lately(request.scope)})


@reader_page
def check_result(request: ScopedRequest, asked_id: int) -> HttpResponse:
    asked = checks.asked_check(request.scope, asked_id)
    if asked is None:
        raise Http404
    context: dict[str, object] = {"asked": asked, "is_under_way": asked.facts is None}
    if asked.facts is not None:
        facts = unpack_facts(bytes(asked.facts))
        context["shown"] = show(run(facts, lead_days=settings.MAILWARD.watch.certificate_days))
        context["domain"] = request.scope.domains().filter(name=asked.name).first()
    return render(request, "checks/result.html", context)
