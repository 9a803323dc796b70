"""A test report, really sent to each place that a TLSRPT record names (RFC 8460 §5.3, §5.4); only when asked for.

Mail goes through a relay where there is one, else straight to the MX hosts of the rua's domain: encrypted where they
offer it, whatever their certificates, since a report must get through when TLS is broken (RFC 8460 §3). It is signed.
"""

import secrets
import ssl
from dataclasses import dataclass, replace
from email.utils import make_msgid
from pathlib import Path

from mailward.config import Relay
from mailward.core.check.facts import Facts
from mailward.core.dkim.sign import SigningKey, sign
from mailward.core.names import Domain
from mailward.core.tlsrpt.compose import build_mail, gzip_report
from mailward.core.tlsrpt.daily import Reporter
from mailward.core.tlsrpt.errors import Unwritable
from mailward.core.tlsrpt.record import RecordError, Target, parse_record
from mailward.core.tlsrpt.trial import REMARKS, make_trial
from mailward.core.tlsrpt.write import serialise_report
from mailward.net import clock
from mailward.net.guard import Guard
from mailward.net.mailer import MailerError, RelaySession
from mailward.net.resolver import Resolver, Status
from mailward.net.webpost import PostError, Reply, post

MEDIA_TYPE = "application/tlsrpt+gzip"
MAX_HOSTS = 3
MAX_ADDRESSES = 2  # of each
_LATER = (408, 421, 423, 425, 429, 503)  # HTTP: it may be otherwise in a while


@dataclass(frozen=True, slots=True)
class Signing:
    selector: str
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Sending:
    """Who sends test reports, and how."""

    reporter: Reporter
    signing: Signing | None = None
    """None: mail is not sent."""
    relay: Relay | None = None
    """None: straight to the MX hosts."""
    smtp_port: int = 25
    """Of the MX hosts."""
    ca_file: Path | None = None
    """Replaces the system's authorities for HTTPS."""


_Outcome = tuple[bool | None, str]


class Trial:
    """Sends them."""

    def __init__(self, sending: Sending, resolver: Resolver, guard: Guard) -> None:
        self._sending, self._resolver, self._guard = sending, resolver, guard

    async def send(self, facts: Facts) -> Facts:
        """The facts with what became of a report to each target, one after another. Raises nothing for what the network
        does.
        """
        try:
            named = {target.uri: target for target in parse_record(facts.tlsrpt.texts).targets}
        except RecordError:
            return facts
        tried = []
        for target in facts.targets:
            if target.takes_reports is not False and target.uri in named:
                took, text = await self._try(facts.domain, named[target.uri])
                tried.append(replace(target, took_trial=took, trial=text))
            else:
                tried.append(target)
        return replace(facts, targets=tuple(tried))

    async def _try(self, domain: Domain, target: Target) -> _Outcome:
        sending = self._sending
        if target.scheme == "https":
            return await self._post(domain, target)
        if sending.signing is None:
            return None, "not sent: report mail must be signed, and no key was given"
        try:
            message = _write(domain, target, sending.reporter, sending.signing)
        except Unwritable as error:
            return None, f"not sent: {error}"
        if sending.relay is not None:
            took, text = await self._hand_over(sending.relay, message, target)
            words = text if text.startswith("the relay") else f"the relay: {text}"
            return took or None, words  # what a relay refuses says nothing of the rua
        return await self._deliver(message, target)

    async def _post(self, domain: Domain, target: Target) -> _Outcome:
        report = make_trial(domain, self._sending.reporter, clock.now(), secrets.token_hex(8))
        body = gzip_report(serialise_report(report))

        async def attempt(context: ssl.SSLContext) -> Reply:
            return await post(
                target.uri, body, MEDIA_TYPE, resolver=self._resolver, guard=self._guard, context=context
            )

        context, note = ssl.create_default_context(cafile=self._sending.ca_file), ""
        try:
            try:
                reply = await attempt(context)
            except PostError as error:
                if not isinstance(error.__cause__, ssl.SSLCertVerificationError):
                    raise
                # RFC 8460 §3: who posts reports may pass over the certificate's faults; not all do
                context.check_hostname, context.verify_mode, note = False, ssl.CERT_NONE, f"; {error}"
                reply = await attempt(context)
        except PostError as error:
            return None, str(error)
        text = f"it answered {reply.status}{note}"
        if reply.is_success:
            return True, text
        return None if reply.status in _LATER else False, text

    async def _deliver(self, message: bytes, target: Target) -> _Outcome:
        domain = target.address.rpartition("@")[2]
        mx = await self._resolver.mx(domain)
        if mx.status is Status.FAILED:
            return None, mx.reason
        hosts = mx.records if mx.found else (domain,)  # RFC 5321 §5.1
        outcome: _Outcome = None, "no MX host has an address that may be connected to"
        for host in hosts[:MAX_HOSTS]:
            found = await self._resolver.addresses(host)
            for address in [
                each for each in found.records if self._guard.allows(each, self._sending.smtp_port)
            ][:MAX_ADDRESSES]:
                relay = Relay(host=address, port=self._sending.smtp_port)
                took, text = await self._hand_over(relay, message, target, is_opportunistic=True)
                outcome = took, f"{host} at {address}: {text.replace('the relay', 'it', 1)}"
                if took is not None:
                    return outcome
        return outcome

    async def _hand_over(
        self, relay: Relay, message: bytes, target: Target, *, is_opportunistic: bool = False
    ) -> _Outcome:
        try:
            async with RelaySession(relay, is_opportunistic=is_opportunistic) as session:
                await session.send(message, [target.address], sender=self._sending.reporter.contact)
        except MailerError as error:
            return None if error.temporary else False, error.detail
        return True, "taken"


def _write(domain: Domain, target: Target, reporter: Reporter, signing: Signing) -> bytes:
    """Raises Unwritable."""
    now = clock.now()
    raw = build_mail(
        make_trial(domain, reporter, now, secrets.token_hex(8)),
        sender=reporter.contact,
        recipient=target.address,
        submitter=reporter.submitter,
        date=now,
        message_id=make_msgid(domain=reporter.submitter),
        extra_headers=(("TLS-Required", "No"),),  # RFC 8689 §5
        remarks=REMARKS,
    )
    return sign(raw, reporter.submitter, signing.selector, signing.key, now=now)
