"""Every URL, as everybody: nobody forgets who may see a page.

`REGISTRY` names each URL once, with what fills its parameters and whom it is for. A URL without an entry
fails the first test. The walk then asks for each by GET and POST as owner, administrator, reader, stranger
and anonymous.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from http import HTTPStatus

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from mailward.core.check.facts import Facts, Found, Lookup, PolicyHost
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain as Name
from mailward.core.watch.keeping import pack_facts
from mailward.net import clock
from mailward.store.models import (
    AskedCheck,
    ChangeState,
    Check,
    DnsZone,
    Domain,
    DomainImport,
    DomainRecipient,
    Door,
    ImportState,
    Invitation,
    Membership,
    MxChange,
    PolicyProfile,
    Problem,
    ProblemDomain,
    ProfileChange,
    QuarantinedMessage,
    RawMessage,
    Report,
    Role,
    Trust,
    User,
)
from mailward.store.services.policies import publish_policy

OK, FOUND, FORBIDDEN, MISSING = (
    HTTPStatus.OK, HTTPStatus.FOUND, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND,
)  # fmt: skip
NOT_ALLOWED = HTTPStatus.METHOD_NOT_ALLOWED
CLIENT_ERRORS = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)


class For(Enum):
    """Whom a URL is for."""

    READERS = "everybody of the organisation, to read"
    THEMSELVES = "everybody of the organisation, to change what is theirs"
    MEMBERS = "everybody of the organisation, to go there"
    WRITERS = "owners and administrators"
    OWNERS = "owners"
    OPERATORS = "owners and administrators of the first organisation, who run the installation"
    SIGNED_IN = "whoever has an account"
    ANYBODY = "whoever comes"
    ALICE = "a person's own, even within the organisation"


@dataclass(frozen=True)
class Entry:
    whom: For
    fill: Callable[["World"], dict[str, object]] = field(default=lambda _: {})
    """What fills the parameters."""
    owned: bool = False
    """Whether it shows something of one organisation: strangers get 404. Otherwise they see their own."""
    post_only: bool = False
    query: Callable[["World"], str] = field(default=lambda _: "")


@dataclass(frozen=True)
class World:
    """One of everything, all of Alice's organisation."""

    domain: Domain
    report: Report
    quarantined: QuarantinedMessage
    problem: Problem
    membership: Membership
    invitation: Invitation
    recipient: DomainRecipient
    dns_zone: DnsZone
    check: Check
    profile: PolicyProfile
    change: ProfileChange
    batch: DomainImport
    asked: AskedCheck
    """Alice's own."""
    mx_change: MxChange


def _domain(world: World) -> dict[str, object]:
    return {"name": world.domain.name}


def _report(world: World) -> dict[str, object]:
    return {"report_id": world.report.pk}


def _quarantined(world: World) -> dict[str, object]:
    return {"quarantine_id": world.quarantined.pk}


def _member(world: World) -> dict[str, object]:
    return {"membership_id": world.membership.pk}


def _check(world: World) -> dict[str, object]:
    return _domain(world) | {"check_id": world.check.pk}


def _profile(world: World) -> dict[str, object]:
    return {"profile_id": world.profile.pk}


def _change(world: World) -> dict[str, object]:
    return {"change_id": world.change.pk}


def _batch(world: World) -> dict[str, object]:
    return {"import_id": world.batch.pk}


def _of_domain(whom: For, *, post_only: bool = False) -> Entry:
    return Entry(whom, _domain, owned=True, post_only=post_only)


REGISTRY: dict[str, Entry] = {
    "home": Entry(For.ANYBODY),
    # accounts
    "account_login": Entry(For.ANYBODY),
    "account_logout": Entry(For.ANYBODY),
    "account_inactive": Entry(For.ANYBODY),
    "account_change_password": Entry(For.SIGNED_IN),
    "account_reset_password": Entry(For.ANYBODY),
    "account_reset_password_done": Entry(For.ANYBODY),
    "account_reset_password_from_key": Entry(For.ANYBODY, lambda _: {"uidb36": "1", "key": "made-up"}),
    "account_reset_password_from_key_done": Entry(For.ANYBODY),
    "start": Entry(For.ANYBODY, lambda _: {"token": "made-up"}),
    "join": Entry(For.ANYBODY, lambda _: {"token": "made-up"}),
    "organisation-choose": Entry(
        For.MEMBERS,
        lambda world: {"organisation_id": world.domain.organisation_id},
        owned=True,
        post_only=True,
    ),
    # people
    "people": Entry(For.READERS),
    "people-invite": Entry(For.OWNERS, post_only=True),
    "people-rename": Entry(For.OWNERS, post_only=True),
    "people-role": Entry(For.OWNERS, _member, owned=True, post_only=True),
    "people-remove": Entry(For.OWNERS, _member, owned=True, post_only=True),
    "people-password": Entry(For.OWNERS, _member, owned=True, post_only=True),
    "people-notify": Entry(For.THEMSELVES, _member, owned=True, post_only=True),
    "people-withdraw": Entry(
        For.OWNERS, lambda world: {"invitation_id": world.invitation.pk}, owned=True, post_only=True
    ),
    "notify-test": Entry(For.WRITERS, post_only=True),
    # domains
    "domain-list": Entry(For.READERS),
    "domain-add": Entry(For.WRITERS),
    "domain-records": Entry(For.READERS),
    "dns-servers": Entry(For.WRITERS),
    "dns-server-try": Entry(
        For.WRITERS, lambda world: {"zone_id": world.dns_zone.pk}, owned=True, post_only=True
    ),
    "dns-server-remove": Entry(
        For.WRITERS, lambda world: {"zone_id": world.dns_zone.pk}, owned=True, post_only=True
    ),
    "domain-setup": _of_domain(For.READERS),
    "domain-check": _of_domain(For.WRITERS, post_only=True),
    "domain-certificate": _of_domain(For.WRITERS, post_only=True),
    "domain-test-report": _of_domain(For.WRITERS, post_only=True),
    "domain-recipient-add": _of_domain(For.WRITERS, post_only=True),
    "domain-recipient-remove": Entry(
        For.WRITERS,
        lambda world: {"name": world.domain.name, "recipient_id": world.recipient.pk},
        owned=True,
        post_only=True,
    ),
    "domain-remove": _of_domain(For.WRITERS),
    # checks
    "domain-checks": _of_domain(For.READERS),
    "domain-checks-now": _of_domain(For.WRITERS, post_only=True),
    "domain-checks-one": Entry(For.READERS, _check, owned=True),
    "domain-checks-compare": Entry(
        For.READERS, _domain, owned=True, query=lambda world: f"?from={world.check.pk}&to={world.check.pk}"
    ),
    "check": Entry(For.THEMSELVES),
    "check-result": Entry(For.ALICE, lambda world: {"asked_id": world.asked.pk}, owned=True),
    # policies
    "domain-policy": _of_domain(For.READERS),
    "domain-policy-edit": _of_domain(For.WRITERS),
    "domain-history": _of_domain(For.READERS),
    "domain-leave": _of_domain(For.READERS),
    "domain-leave-begin": _of_domain(For.WRITERS, post_only=True),
    "domain-leave-end": _of_domain(For.WRITERS, post_only=True),
    "domain-move": _of_domain(For.WRITERS),
    "domain-take-over": _of_domain(For.WRITERS),
    "domain-events": _of_domain(For.READERS),
    "domain-restore": Entry(
        For.WRITERS, lambda world: {"name": world.domain.name, "number": 1}, owned=True, post_only=True
    ),
    # MX hosts
    "domain-mx": _of_domain(For.READERS),
    "mx-follow": _of_domain(For.WRITERS, post_only=True),
    "mx-plan": _of_domain(For.WRITERS, post_only=True),
    "mx-end": Entry(
        For.WRITERS,
        lambda world: {"name": world.domain.name, "change_id": world.mx_change.pk},
        owned=True,
        post_only=True,
    ),
    "veto": Entry(For.ANYBODY, lambda _: {"token": "made-up"}),
    # the way to enforce
    "rollout-list": Entry(For.READERS),
    "rollout-choose": Entry(For.WRITERS, post_only=True),
    "domain-rollout": _of_domain(For.READERS),
    "domain-promote": _of_domain(For.WRITERS, post_only=True),
    "domain-rollout-choose": _of_domain(For.WRITERS, post_only=True),
    # many at once
    "profile-list": Entry(For.READERS),
    "profile-new": Entry(For.WRITERS),
    "profile-detail": Entry(For.READERS, _profile, owned=True),
    "profile-members": Entry(For.WRITERS, _profile, owned=True, post_only=True),
    "profile-remove": Entry(For.WRITERS, _profile, owned=True, post_only=True),
    "profile-automatic": Entry(For.WRITERS, _profile, owned=True, post_only=True),
    "profile-change": Entry(For.WRITERS, _profile, owned=True, post_only=True),
    "change-detail": Entry(For.READERS, _change, owned=True),
    "change-act": Entry(For.WRITERS, _change, owned=True, post_only=True),
    "domain-import": Entry(For.WRITERS),
    "import-detail": Entry(For.READERS, _batch, owned=True),
    "import-act": Entry(For.WRITERS, _batch, owned=True, post_only=True),
    "import-records": Entry(For.READERS, lambda world: _batch(world) | {"form": "zone"}, owned=True),
    # reports
    "domain-home": _of_domain(For.READERS),
    "domain-reports": _of_domain(For.READERS),
    "report-list": Entry(For.READERS),
    "report-detail": Entry(For.READERS, _report, owned=True),
    "report-raw": Entry(For.READERS, _report, owned=True),
    "report-export": Entry(For.READERS, lambda world: _report(world) | {"form": "json"}, owned=True),
    "upload": Entry(For.WRITERS),
    # quarantine
    "quarantine-list": Entry(For.READERS),
    "quarantine-detail": Entry(For.READERS, _quarantined, owned=True),
    "quarantine-raw": Entry(For.READERS, _quarantined, owned=True),
    "quarantine-again": Entry(For.WRITERS, _quarantined, owned=True, post_only=True),
    # problems
    "problem-list": Entry(For.READERS),
    # the installation
    "health": Entry(For.OPERATORS),
    "problem-detail": Entry(For.READERS, lambda world: {"problem_id": world.problem.pk}, owned=True),
}


def _patterns(patterns: list[URLPattern | URLResolver]) -> list[URLPattern]:
    found: list[URLPattern] = []
    for pattern in patterns:
        found += [pattern] if isinstance(pattern, URLPattern) else _patterns(pattern.url_patterns)
    return found


def test_every_url_has_an_entry_and_every_entry_a_url() -> None:
    names = [pattern.name for pattern in _patterns(get_resolver().url_patterns)]
    assert None not in names, "a URL without a name cannot be linked to, nor looked at here"
    assert sorted(filter(None, names)) == sorted(REGISTRY)


@pytest.fixture
def world(domain: Domain, alice_user: User, bob_user: User, rita_user: User) -> World:
    now, organisation = clock.now(), domain.organisation
    publish_policy(organisation.pk, domain.pk, Policy(Mode.TESTING, 86_400, ("mx.test",)), author_id=None)
    domain.refresh_from_db()
    raw = RawMessage.objects.create(
        organisation=organisation, door=Door.SMTP, content=b"raw", received_at=now
    )
    report = Report.objects.create(
        organisation=organisation, domain=domain, domain_key=domain.pk, raw=raw, content_hash=b"0" * 32,
        trust=Trust.UNVERIFIED, dkim="", door=Door.SMTP, reporter="sender.test", day=now.date(),
        start=now, end=now, parsed=PARSED, deviations=b"[]", received_at=now,
    )  # fmt: skip
    problem = Problem.objects.create(
        organisation=organisation, result_type="starttls-not-supported", host="mx.test", opened_at=now,
        first_day=now.date(), last_day=now.date(),
    )  # fmt: skip
    ProblemDomain.objects.create(
        problem=problem, domain=domain, organisation=organisation, first_day=now.date(), last_day=now.date()
    )
    profile = PolicyProfile.objects.create(
        organisation=organisation, name="Shared", mode="testing", max_age_seconds=86_400
    )
    return World(
        profile=profile,
        change=ProfileChange.objects.create(
            organisation=organisation, profile=profile, mode="testing", max_age_seconds=604_800,
            state=ChangeState.DRAFT,
        ),
        batch=DomainImport.objects.create(
            organisation=organisation, source="domains.csv", state=ImportState.PLANNED
        ),
        domain=domain,
        report=report,
        quarantined=QuarantinedMessage.objects.create(
            organisation=organisation, raw=raw, reason="not-json", received_at=now
        ),
        problem=problem,
        membership=Membership.objects.get(user=rita_user),
        invitation=Invitation.objects.create(
            organisation=organisation, token_hash="h", email="new@new.test", role=Role.READER,
            expires_at=now + timedelta(days=1),
        ),
        dns_zone=DnsZone.objects.create(
            organisation=organisation, zone="example.test", server="127.0.0.1:9", key_name="k",
            algorithm="hmac-sha256", key=b"",
        ),
        recipient=DomainRecipient.objects.create(
            organisation=organisation, domain=domain, email="ops@example.test"
        ),
        check=Check.objects.create(
            organisation=organisation, domain=domain, first_at=now, digest=b"", facts=pack_facts(FACTS)
        ),
        asked=AskedCheck.objects.create(
            organisation=organisation, user=alice_user, name=domain.name, asked_at=now, finished_at=now,
            facts=pack_facts(FACTS),
        ),
        mx_change=MxChange.objects.create(
            organisation=organisation, domain=domain, kind="planned", subject="new.test", state="waiting",
            noticed_at=now, due_at=now,
        ),
    )  # fmt: skip


PARSED = (
    b'{"organization-name":"Sender","date-range":{"start-datetime":"2026-11-23T00:00:00Z",'
    b'"end-datetime":"2026-11-23T23:59:59Z"},"contact-info":"a@sender.test","report-id":"1","policies":[]}'
)
_NONE = Lookup("example.test", "A", Found.NODATA)
FACTS = Facts(
    Name("example.test"), datetime(2026, 11, 1, tzinfo=UTC), True, _NONE, (), _NONE, (),
    PolicyHost(_NONE, _NONE), _NONE,
)  # fmt: skip
DONE = {OK, FOUND, *CLIENT_ERRORS}
"""Seen, or changed and sent on, or a form with errors in it: whoever it is was let in."""
MAY = {
    "alice": set(For) - {For.ALICE},
    "bob": {For.READERS, For.THEMSELVES, For.MEMBERS, For.WRITERS, For.OPERATORS, For.SIGNED_IN, For.ANYBODY},
    "rita": {For.READERS, For.THEMSELVES, For.MEMBERS, For.SIGNED_IN, For.ANYBODY},
    # an owner too, but elsewhere
    "charlie": {
        For.READERS,
        For.THEMSELVES,
        For.MEMBERS,
        For.WRITERS,
        For.OWNERS,
        For.SIGNED_IN,
        For.ANYBODY,
    },
    "nobody": {For.ANYBODY},
}


def expected(entry: Entry, who: str, method: str) -> set[HTTPStatus]:
    """What may be answered."""
    if entry.whom is For.ANYBODY:
        return {OK, FOUND, MISSING, NOT_ALLOWED}  # MISSING: tokens that are made up, or no relay for mails
    if who == "nobody":
        return {FOUND}
    if entry.whom is For.ALICE:
        if method == "post":
            return {NOT_ALLOWED}
        return {OK} if who == "alice" else {MISSING}
    if entry.whom not in MAY[who]:
        return {FORBIDDEN}
    if method == "get" and entry.post_only:
        return {NOT_ALLOWED}
    if method == "post" and entry.whom is For.READERS:
        return {NOT_ALLOWED}
    if entry.owned and (who == "charlie" or (who == "bob" and entry.whom is For.THEMSELVES)):
        return {MISSING}  # the membership in the world is Rita's
    return DONE


@pytest.mark.parametrize("name", sorted(REGISTRY))
@pytest.mark.parametrize("who", MAY)
@pytest.mark.parametrize("method", ["get", "post"])
def test_each_url_answers_each_person_as_it_should(
    name: str, who: str, method: str, world: World, request: pytest.FixtureRequest
) -> None:
    entry = REGISTRY[name]
    client: Client = Client() if who == "nobody" else request.getfixturevalue(who)
    address = reverse(name, kwargs=entry.fill(world)) + entry.query(world)
    answer = client.get(address) if method == "get" else client.post(address)
    assert answer.status_code in expected(entry, who, method), answer
    if who == "nobody" and entry.whom is not For.ANYBODY:
        assert answer.headers["Location"].startswith(reverse("account_login"))


@pytest.mark.parametrize("name", [name for name, entry in REGISTRY.items() if entry.owned])
def test_a_stranger_is_shown_no_word_of_another_organisation(
    name: str, world: World, charlie: Client
) -> None:
    address = reverse(name, kwargs=REGISTRY[name].fill(world))
    for answer in (charlie.get(address), charlie.post(address)):
        assert world.domain.organisation.name.encode() not in answer.content
        assert world.domain.report_token.encode() not in answer.content


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_nothing_is_written_without_the_token_of_its_form(name: str, world: World, alice_user: User) -> None:
    entry = REGISTRY[name]
    if entry.whom in (For.READERS, For.ALICE) or name in (
        "start",
        "join",
        "home",
        "account_reset_password_from_key",
    ):
        return
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice_user)
    answer = client.post(reverse(name, kwargs=entry.fill(world)))
    assert answer.status_code in (FORBIDDEN, NOT_ALLOWED, MISSING), answer


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_no_page_brings_script_or_style_of_its_own(name: str, world: World, alice: Client) -> None:
    """The Content-Security-Policy would stop them; better that nobody tries."""
    address = reverse(name, kwargs=REGISTRY[name].fill(world)) + REGISTRY[name].query(world)
    answer = alice.get(address, follow=True)
    if "html" not in answer.headers.get("Content-Type", "") or answer.streaming:
        return
    page = answer.content.decode()
    for forbidden in ("<style", " style=", " onclick=", " onchange=", "<script>", "javascript:"):
        assert forbidden not in page
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
