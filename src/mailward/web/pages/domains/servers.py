"""Own DNS servers of an organisation, which we may change by RFC 2136."""

import base64
import binascii

from asgiref.sync import async_to_sync
from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from mailward.core.names import InvalidName, parse_domain
from mailward.core.places import parse_place
from mailward.net.dnsupdate import ALGORITHMS
from mailward.net.sealing import load_keyring
from mailward.store.models import DnsZone
from mailward.store.services.dnsupdates import ZoneData, put_zone, remove_zone, save_zone, zone_purpose
from mailward.web.access import ScopedRequest, writer_page
from mailward.worker.updating import try_zone, why_not_port

_MIN_SECRET_BYTES = 16
_MAX_SECRET_BYTES = 512


class ZoneForm(forms.Form):
    zone = forms.CharField(
        label="Zone", max_length=253, help_text="Domains that are it or below it are kept there."
    )
    server = forms.CharField(
        label="Server", max_length=60, help_text="Its address, or address:port. It is asked by TCP."
    )
    key_name = forms.CharField(label="Name of the key", max_length=253)
    algorithm = forms.ChoiceField(label="Algorithm", choices=[(name, name) for name in ALGORITHMS])
    secret = forms.CharField(
        label="Secret",
        max_length=1000,
        help_text="In base64. It is kept sealed and not shown again.",
        widget=forms.PasswordInput({"autocomplete": "off"}),
    )
    is_forced = forms.BooleanField(label="Replace records that Mailward did not write", required=False)

    def clean_zone(self) -> str:
        try:
            return parse_domain(self.cleaned_data["zone"].strip().rstrip("."))
        except InvalidName as error:
            raise forms.ValidationError(f"This is no zone: {error}.") from error

    def clean_server(self) -> str:
        text: str = self.cleaned_data["server"].strip()
        try:
            _, port = parse_place(text, 53)
        except ValueError as error:
            raise forms.ValidationError(f"{error}.") from error
        if reason := why_not_port(settings.MAILWARD, port):
            raise forms.ValidationError(f"{reason[0].upper()}{reason[1:]}.")
        return text

    def clean_key_name(self) -> str:
        try:
            return parse_domain(self.cleaned_data["key_name"].strip().rstrip("."), allow_single=True)
        except InvalidName as error:
            raise forms.ValidationError(f"This is no name of a key: {error}.") from error

    def clean_secret(self) -> bytes:
        try:
            secret = base64.b64decode(self.cleaned_data["secret"].strip(), validate=True)
        except (binascii.Error, ValueError) as error:
            raise forms.ValidationError("The secret is not base64.") from error
        if not _MIN_SECRET_BYTES <= len(secret) <= _MAX_SECRET_BYTES:
            raise forms.ValidationError(
                f"The secret has less than {_MIN_SECRET_BYTES} octets, or far too many."
            )
        return secret


@writer_page
def dns_servers(request: ScopedRequest) -> HttpResponse:
    form = ZoneForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        zone = save_zone(request.scope, _data(request, form))
        _try(request, zone)
        return redirect("dns-servers")
    context = {"zones": request.scope.dns_zones(), "form": form}
    return render(request, "domains/servers.html", context)


@writer_page
@require_POST
def dns_server_try(request: ScopedRequest, zone_id: int) -> HttpResponse:
    zone = _find(request, zone_id)
    put_zone(zone)
    _try(request, zone)
    return redirect("dns-servers")


@writer_page
@require_POST
def dns_server_remove(request: ScopedRequest, zone_id: int) -> HttpResponse:
    zone = _find(request, zone_id)
    remove_zone(request.scope, zone.pk)
    messages.success(request, f"{zone.zone} is not kept up any more. What was written there stays.")
    return redirect("dns-servers")


def _find(request: ScopedRequest, zone_id: int) -> DnsZone:
    zone = request.scope.dns_zones().filter(pk=zone_id).first()
    if zone is None:
        raise Http404
    return zone


def _data(request: ScopedRequest, form: ZoneForm) -> ZoneData:
    given = form.cleaned_data
    purpose = zone_purpose(request.scope.organisation_id, given["zone"])
    sealed = load_keyring(settings.MAILWARD).seal(given["secret"], purpose)
    names = ("zone", "server", "key_name", "algorithm")
    return ZoneData(**{name: given[name] for name in names}, sealed=sealed, is_forced=given["is_forced"])


def _try(request: ScopedRequest, zone: DnsZone) -> None:
    if trouble := async_to_sync(try_zone)(settings.MAILWARD, zone):
        messages.error(request, f"{zone.zone}: {trouble}.")
    else:
        messages.success(
            request, f"{zone.zone}: the server knows the key. The records are written within a minute."
        )
