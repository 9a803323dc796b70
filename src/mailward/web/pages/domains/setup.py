"""The set-up of one domain: what to publish, whether it is there, and a report to try it with."""

from collections.abc import Mapping
from dataclasses import dataclass

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from mailward.config import Settings
from mailward.ingest.channels import https
from mailward.ingest.test_report import send_test_report
from mailward.monitor.records import ExpectedRecord, RecordData, RecordKey, State, expected_records
from mailward.monitor.writing import Form, write
from mailward.store.models import DnsWritten, Domain, RecordCheck
from mailward.store.queries.accounts import several_organisations
from mailward.store.services.certificates import hasten
from mailward.store.services.domains import MAX_RECIPIENTS, TooManyRecipients, add_recipient, remove_recipient
from mailward.store.services.leaving import OF_POLICY, Way, has_left, way_of
from mailward.web.access import ScopedRequest, find_domain, reader_page, writer_page
from mailward.web.fetching import fetch_command
from mailward.web.live import check_now
from mailward.web.pages.domains.certificate import show_certificate
from mailward.web.pages.domains.forms import RecipientForm
from mailward.web.pages.domains.next_step import next_step, step_out
from mailward.worker.publishing import lines_of
from mailward.worker.records import facts_of


@dataclass(frozen=True, slots=True)
class Row:
    """One record to publish, and how it stands."""

    record: ExpectedRecord
    check: RecordCheck | None
    """None: never asked."""
    written: DnsWritten | None = None
    """Where we keep it at the domain's own DNS server."""

    @property
    def other(self) -> RecordData | None:
        """The way that is not recommended here, where there is one."""
        ways = (self.record.delegated, self.record.self_managed)
        others = (way for way in ways if way is not None and way.value and way != self.record.recommended)
        return next(others, None)

    @property
    def is_policy_host(self) -> bool:
        return self.record.key is RecordKey.POLICY_HOST


@reader_page
def domain_setup(request: ScopedRequest, name: str) -> HttpResponse:
    return _render(request, find_domain(request, name), RecipientForm())


@writer_page
@require_POST
def domain_check(request: ScopedRequest, name: str) -> HttpResponse:
    """Ask the domain's own servers now."""
    domain = find_domain(request, name)
    states = check_now(domain.pk)
    hasten(domain.pk)
    right = sum(state.state is State.RIGHT for state in states)
    domain.refresh_from_db(fields=["claim_verified_at"])
    has_claim = any(state.key is RecordKey.CLAIM and state.state is State.RIGHT for state in states)
    if has_claim and domain.claim_verified_at is None:
        messages.error(
            request,
            f"Your record is right, but another organisation has proved {domain.name} "
            "and its record still stands: remove that one.",
        )
    if has_left(domain):
        messages.info(
            request, "The records were asked for. Those of the policy have no place there any more."
        )
    elif right == len(states):
        messages.success(request, "All records are right.")
    else:
        messages.warning(request, f"{right} of {len(states)} records are right.")
    return redirect("domain-setup", domain.name)


@writer_page
@require_POST
def domain_test_report(request: ScopedRequest, name: str) -> HttpResponse:
    """Send a test report through our own mail door, as a stranger's would come."""
    domain = find_domain(request, name)
    trouble = async_to_sync(send_test_report)(domain.pk)
    if trouble:
        messages.error(request, f"The test report was not taken: {trouble}")
    else:
        messages.success(request, "The test report is on its way.")
    return redirect("domain-setup", domain.name)


@writer_page
@require_POST
def domain_recipient_add(request: ScopedRequest, name: str) -> HttpResponse:
    domain, form = find_domain(request, name), RecipientForm(request.POST)
    if not form.is_valid():
        return _render(request, domain, form)
    try:
        add_recipient(request.scope, domain.pk, form.cleaned_data["email"])
    except TooManyRecipients:
        form.add_error("email", f"A domain has {MAX_RECIPIENTS} recipients at most. Use a mailing list.")
        return _render(request, domain, form)
    messages.success(request, f"{form.cleaned_data['email']} hears of problems of {domain.name}.")
    return redirect("domain-setup", domain.name)


@writer_page
@require_POST
def domain_recipient_remove(request: ScopedRequest, name: str, recipient_id: int) -> HttpResponse:
    domain = find_domain(request, name)
    if not remove_recipient(request.scope, domain.pk, recipient_id):
        raise Http404
    messages.success(request, "They hear of it no longer.")
    return redirect("domain-setup", domain.name)


def _names_of_this_machine(configured: Settings) -> list[str]:
    """The settings whose name stands in the records to publish, and leads whoever asks to his own machine."""
    if configured.nameserver.zone:
        return []  # names in that zone stand there instead
    names = {
        "policy_host.public_name": configured.policy_host.public_name,
        "reports.domain": configured.reports.domain,
    }
    return [setting for setting, name in names.items() if name.lower().rpartition(".")[2] == "localhost"]


def _render(request: ScopedRequest, domain: Domain, form: RecipientForm) -> HttpResponse:
    configured = settings.MAILWARD
    checks: Mapping[str, RecordCheck] = {
        check.record: check for check in request.scope.record_checks().filter(domain=domain)
    }
    written = {row.record: row for row in request.scope.dns_written().filter(domain=domain)}
    facts = facts_of(configured, domain.pk)
    rows = [
        Row(record, checks.get(record.key), written.get(record.key))
        for record in (expected_records(facts) if facts else ())
    ]
    mine = request.scope.domains().filter(pk=domain.pk)
    way = way_of(domain)
    states = {row.record.key.value: row.check.state if row.check else "" for row in rows}
    context = {
        "domain": domain,
        "tab": "setup",
        "zone_text": "".join(write(Form.ZONE, lines_of(configured, mine))),
        "rows": rows,
        "servers": checks.get(RecordKey.SERVERS),
        "signatures": checks.get(RecordKey.SIGNATURES),
        "next": step_out(domain, way) or next_step(domain, states),
        # what stands there is not to be published any more
        "to_go": OF_POLICY if way in (Way.REMOVES, Way.LEFT) else (),
        "of_this_machine": _names_of_this_machine(configured),
        "must_prove": domain.claim_verified_at is None and several_organisations(),
        "organisation_address": f"{request.scope.organisation().report_token}@{configured.reports.domain}",
        "report_address": f"{domain.report_token}@{configured.reports.domain}",
        "https_door": f"https://{configured.https_authority}{https.PATH}{domain.report_token}",
        "fetch_command": fetch_command(configured, domain.name),
        "delegates": bool(configured.nameserver.zone),
        "development_ca": configured.has_development_ca,
        "certificate": show_certificate(configured, request.scope, domain),
        "recipients": request.scope.recipients().filter(domain=domain).order_by("email"),
        "form": form,
    }
    return render(request, "domains/setup.html", context)
