"""A test report: sent as a stranger's MTA would send it, so that what arrives proves the whole way.

It is a real report mail with a number in its report-id that nobody else knows. It is never counted.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from email.utils import make_msgid

from django.conf import settings as django_settings

from mailward.config import Relay, Settings
from mailward.core.places import reach, show_place
from mailward.core.tlsrpt.mail import build_mail
from mailward.core.tlsrpt.schema import DateRange, Policy, PolicyResult, PolicyType, Report, Summary
from mailward.ingest.nonces import make_nonce
from mailward.net import clock
from mailward.net.mailer import Deadlines, MailerError, RecipientRefused, RelaySession
from mailward.net.resolver import Resolver, make_resolver
from mailward.store.aio import in_store
from mailward.store.models import Domain

_DEADLINES = Deadlines(step=20, opening=20, message=40)
_MAX_HOSTS = 3
_MAX_ADDRESSES = 2  # of one host
_SMTP_PORT = 25


@dataclass(frozen=True, slots=True)
class _Draft:
    domain: str
    recipient: str
    nonce: str


async def send_test_report(
    domain_id: int, *, settings: Settings | None = None, resolver: Resolver | None = None
) -> str:
    """Send it; "" once a mail server has taken it, else one sentence on why none did.

    Goes to the MX hosts of the report domain, as everybody's mail does: encrypted where they offer it, whatever the
    certificate. Where there are none, as in a laboratory, straight to our own door. Raises Domain.DoesNotExist.
    """
    settings = settings or django_settings.MAILWARD
    draft = await in_store(_prepare, domain_id, settings.reports.domain, make_nonce(), clock.now())
    message = _message(draft, settings.reports.domain, clock.now())
    trouble = ""
    for name, place in await _targets(settings, resolver or make_resolver(settings.dns)):
        trouble = await _send(name, place, f"tls-reports@{settings.reports.domain}", draft.recipient, message)
        if not trouble:
            break
    return trouble


def _prepare(domain_id: int, report_domain: str, nonce: str, now: datetime) -> _Draft:
    domain = Domain.objects.get(pk=domain_id)
    domain.test_report_nonce = nonce
    domain.test_report_sent_at = now
    domain.test_report_arrived_at = None
    domain.save(update_fields=["test_report_nonce", "test_report_sent_at", "test_report_arrived_at"])
    return _Draft(domain.name, f"{domain.report_token}@{report_domain}", nonce)


def _message(draft: _Draft, report_domain: str, now: datetime) -> bytes:
    yesterday = now.date() - timedelta(days=1)
    start = datetime.combine(yesterday, time(), now.tzinfo)
    sender = f"tls-reports@{report_domain}"
    report = Report(
        organization_name="Mailward test report",
        date_range=DateRange(start_datetime=start, end_datetime=start + timedelta(days=1, seconds=-1)),
        contact_info=sender,
        report_id=draft.nonce,
        policies=(
            PolicyResult(
                policy=Policy(policy_type=PolicyType.NO_POLICY_FOUND, policy_domain=draft.domain),
                summary=Summary(total_successful_session_count=1, total_failure_session_count=0),
            ),
        ),
    )
    return build_mail(
        report,
        sender=sender,
        recipient=draft.recipient,
        submitter=report_domain,
        date=now,
        message_id=make_msgid(domain=report_domain),
        # RFC 8689: a report is delivered despite failures of TLS
        extra_headers=(("TLS-Required", "No"),),
    )


async def _targets(settings: Settings, resolver: Resolver) -> list[tuple[str, Relay | None]]:
    """What each is called, and where it is: None where the DNS has no address of it."""
    answer = await resolver.mx(settings.reports.domain)
    if not answer.found:
        host, port = settings.smtp_places[0]
        return [(show_place((reach(host), port)), Relay(host=reach(host), port=port))]
    targets: list[tuple[str, Relay | None]] = []
    for host in answer.records[:_MAX_HOSTS]:
        found = await resolver.addresses(host)
        places = [Relay(host=address, port=_SMTP_PORT) for address in found.records[:_MAX_ADDRESSES]]
        targets += [(f"{host} at {place.host}", place) for place in places] or [(host, None)]
    return targets


async def _send(name: str, place: Relay | None, sender: str, recipient: str, message: bytes) -> str:
    """ "" or why this host did not take it."""
    if place is None:
        return f"{name} has no address in the DNS"
    try:
        async with RelaySession(place, is_opportunistic=True, deadlines=_DEADLINES) as session:
            await session.send(message, [recipient], sender=sender)
    except RecipientRefused as error:
        return f"{name} refused the address: {error.detail}"
    except MailerError as error:
        return f"{name}: {error.detail.replace('the relay', 'it', 1)}"
    return ""
