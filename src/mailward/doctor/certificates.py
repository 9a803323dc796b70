"""Certificates that are ordered: our own names and all domains; the CA's own words where it refuses."""

from collections.abc import Iterator
from datetime import timedelta

from mailward.core.acme.state import CareState
from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor.subject import Findings, Subject, good
from mailward.net import clock
from mailward.store.queries import certificates, installation
from mailward.store.queries.certificates import Overview

_SHOWN = 5
_BAD = (CareState.REACH, CareState.FAILING, CareState.FORBIDDEN, CareState.GONE)


async def look_at_certificates(subject: Subject) -> Findings:
    settings = subject.settings
    if not settings.acme.directories:
        yield good("no certificates are ordered (acme.directories); `inbound` looks at those that are served")
        return
    limits = [(each.url, each.orders_per_3_hours) for each in settings.acme.authorities]
    seen = await subject.ask(certificates.overview, limits)
    found = [*_authorities(seen), *_own_names(seen), *_domains(seen)]
    # ordered ones are renewed with a third of their life left: with a few days, that has failed
    before = clock.now() + timedelta(days=settings.watch.certificate_days) / 2
    ending = await subject.ask(installation.certificates_ending, before)
    if ending:
        first = await subject.ask(installation.next_certificate)
        text = f"{ending} certificates end before {before:%Y-%m-%d}"
        if first is not None:
            text += f", the first that of {first.host} at {first.at:%Y-%m-%d %H:%M} UTC"
        found.append(
            tell("certificates-ending", text, "mailward certificates tells why they are not renewed")
        )
    for finding in found:
        yield finding
    if not found:
        count = seen.states.get(CareState.GOOD, 0)
        waiting = seen.states.get(CareState.REACH, 0) + seen.states.get(CareState.CLAIM, 0)
        more = f"; {waiting} domains do not lead here yet or are not proved" if waiting else ""
        yield good(f"{count} domains and {len(seen.own)} names of our own have a certificate{more}")


def _authorities(seen: Overview) -> Iterator[Finding]:
    for each in seen.authorities:
        if each.blocked_until is not None:
            text = f"{each.directory} is left alone until {each.blocked_until:%H:%M} UTC; it said: {each.last_error}"
            yield tell("ca-blocked", text, "put a second CA into acme.directories")


def _own_names(seen: Overview) -> Iterator[Finding]:
    for own in seen.own:
        if own.state in _BAD:
            words = own.detail or own.state
            text = f"{own.host}, a name of ours: {words}"
            yield tell(
                "own-name-failing",
                text,
                f"let {own.host} lead to this machine at port 80, and allow the CA in its CAA records",
            )


def _domains(seen: Overview) -> Iterator[Finding]:
    failing = sum(seen.states.get(state, 0) for state in (CareState.FAILING, CareState.FORBIDDEN))
    gone = seen.states.get(CareState.GONE, 0)
    if failing:
        words = "; ".join(
            f"{name}: {detail or state}"
            for name, state, detail in seen.troubled[:_SHOWN]
            if state is not CareState.GONE
        )
        yield tell(
            "orders-failing", f"{failing} domains get no certificate: {words}", "mailward certificates"
        )
    if gone:
        names = ", ".join([name for name, state, _ in seen.troubled if state is CareState.GONE][:_SHOWN])
        text = f"{gone} domains led to us and do so no more: {names}"
        yield tell("domains-gone", text, "their people are told; remove them once their policies have ended")
