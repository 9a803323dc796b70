"""The certificate of a domain as its page shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from mailward.config import Settings
from mailward.core.acme.challenge import LABEL
from mailward.core.acme.renewal import Why
from mailward.core.acme.state import CareState
from mailward.net import clock
from mailward.store.models import Domain
from mailward.store.queries.certificates import care_of, queue_end
from mailward.store.scope import Scope
from mailward.store.services.certificates import choose
from mailward.web.access import ScopedRequest, find_domain, writer_page

_TITLES = {
    CareState.CLAIM: ("unknown", "waits for the proof"),
    CareState.REACH: ("unknown", "waits for the name"),
    CareState.QUEUED: ("unknown", "waits for its turn"),
    CareState.AWAY: ("warn", "no authority answers"),
    CareState.ORDERED: ("info", "being ordered"),
    CareState.GOOD: ("ok", "there"),
    CareState.FAILING: ("warn", "refused"),
    CareState.FORBIDDEN: ("warn", "forbidden by CAA"),
    CareState.GONE: ("bad", "not renewed"),
}
_TEXTS = {
    CareState.CLAIM: "It is ordered once one of the records proves that the domain is yours.",
    CareState.REACH: "It is ordered as soon as the policy host’s name leads here.",
    CareState.QUEUED: "The certificate authorities have had as many orders as they take now.",
    CareState.AWAY: "No certificate authority can be asked now. They are asked again by themselves.",
    CareState.ORDERED: "A certificate authority is at it.",
    CareState.GOOD: "",
    CareState.FAILING: "A certificate authority said no. It is asked again by itself.",
    CareState.FORBIDDEN: "The domain’s CAA records let none of our certificate authorities issue.",
    CareState.GONE: "The name does not lead here any more, so the certificate runs out.",
}
_WHY = {
    Why.SUGGESTED.value: "when its authority suggests it",
    Why.LIFETIME.value: "when two thirds of its life are over",
}


@dataclass(frozen=True, slots=True)
class Shown:
    badge: str
    title: str
    text: str
    detail: str
    """What was seen, or the authority’s own words."""
    issuer: str = ""
    until: datetime | None = None
    is_over: bool = False
    renew_at: datetime | None = None
    renew_why: str = ""
    explanation_url: str = ""
    again_at: datetime | None = None
    """When it is tried again."""
    queue_end: datetime | None = None
    """Where it waits for a place at a CA: when the last of all that wait has one."""
    form: "CertificateForm | None" = None
    challenge_name: str = ""
    challenge_target: str = ""
    """The CNAME that lets it be had without port 80; empty where we have no nameserver."""


class CertificateForm(forms.Form):
    """Which CA is asked first, and for what."""

    profile = forms.RegexField(
        r"\A[A-Za-z0-9._-]{0,100}\Z",
        label="Profile",
        required=False,
        help_text="A kind of certificate that this authority offers, such as shortlived for six days. "
        "Empty: the usual one.",
    )

    def __init__(
        self,
        urls: Sequence[str],
        data: Mapping[str, str] | None = None,
        *,
        initial: dict[str, str] | None = None,
    ) -> None:
        super().__init__(data, prefix="certificate", initial=initial)
        choices = [("", "In the order of the settings"), *((url, url) for url in urls)]
        self.fields["directory"] = forms.ChoiceField(
            label="Certificate authority asked first", required=False, choices=choices
        )


@writer_page
@require_POST
def domain_certificate(request: ScopedRequest, name: str) -> HttpResponse:
    domain, configured = find_domain(request, name), settings.MAILWARD
    form = CertificateForm([each.url for each in configured.acme.authorities], request.POST)
    if form.is_valid():
        choose(request.scope, domain.pk, form.cleaned_data["directory"], form.cleaned_data["profile"])
        messages.success(request, "It counts from the next order on.")
    else:
        messages.error(
            request, "That is no certificate authority of this installation, or no name of a profile."
        )
    return redirect("domain-setup", domain.name)


def show_certificate(configured: Settings, scope: Scope, domain: Domain) -> Shown | None:
    """None: no certificates are ordered here."""
    if not configured.acme.directories:
        return None
    care, zone = care_of(scope, domain.pk), configured.nameserver.zone
    form = CertificateForm(
        [each.url for each in configured.acme.authorities],
        initial={"directory": care.directory, "profile": care.profile} if care else {},
    )
    name = f"{LABEL}.mta-sts.{domain.name}" if zone else ""
    target = f"{LABEL}.{domain.delegation_token}.{zone}" if zone else ""
    if care is None:
        shown = Shown(*_TITLES[CareState.CLAIM], _TEXTS[CareState.CLAIM], "")
        return replace(shown, form=form, challenge_name=name, challenge_target=target)
    state, current = CareState(care.state), care.current
    badge, title = _TITLES[state]
    good = state is CareState.GOOD
    return Shown(
        badge,
        title,
        _TEXTS[state],
        care.detail,
        issuer=current.issuer if current else "",
        until=current.not_after if current else None,
        is_over=current is not None and current.not_after <= clock.now(),
        renew_at=care.renew_at if good else None,
        renew_why=_WHY.get(care.renew_why, ""),
        explanation_url=care.explanation_url if care.explanation_url.startswith("https://") else "",
        again_at=None if good else care.due_at,
        queue_end=_queue_end(configured) if state is CareState.QUEUED else None,
        form=form,
        challenge_name=name,
        challenge_target=target,
    )


def _queue_end(configured: Settings) -> datetime | None:
    return queue_end([(each.url, each.orders_per_3_hours) for each in configured.acme.authorities])
