"""What a domain's page says about its certificate."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from tests.web.pages import with_settings

from mailward.config import PolicyHost, Problems
from mailward.core.acme.settings import Acme, AcmeDirectory
from mailward.core.acme.state import CareState
from mailward.net import clock
from mailward.store.models import Certificate, CertificateCare, Domain, Organisation, OwnNameCare, Problem
from mailward.store.services.certificates import settle


@pytest.fixture
def ordering() -> Iterator[None]:
    with with_settings(acme=Acme(directories=("https://ca.test/dir",))):
        yield


def page(client: Client, domain: Domain) -> str:
    return client.get(reverse("domain-setup", args=[domain.name])).content.decode()


def care(domain: Domain, **fields: object) -> CertificateCare:
    now = clock.now()
    return CertificateCare.objects.create(
        domain=domain, organisation=domain.organisation, due_at=now + timedelta(minutes=4), **fields
    )


def test_without_a_ca_nothing_is_said(alice: Client, domain: Domain) -> None:
    assert 'id="certificate"' not in page(alice, domain)


def test_what_is_waited_for_is_said(alice: Client, domain: Domain, ordering: None) -> None:
    assert "once one of the records proves" in page(alice, domain)
    care(domain, state=CareState.REACH, detail="mta-sts.example.test has no address")
    assert "mta-sts.example.test has no address" in page(alice, domain)


def test_who_waits_for_a_place_reads_when_the_last_has_one(
    alice: Client, domain: Domain, strangers: Organisation
) -> None:
    """Whose the others are is nobody's business."""
    care(domain, state=CareState.QUEUED)
    for number in range(6):
        other = Domain.objects.create(
            organisation=strangers, name=f"d{number}.test", report_token=f"d{number}", claim_token="c"
        )
        care(other, state=CareState.QUEUED)
    now = clock.now()
    ca = AcmeDirectory(url="https://ca.test/dir", orders_per_3_hours=3)
    with with_settings(acme=Acme(directories=(ca,))), clock.frozen(now):
        shown = page(alice, domain)
    # three now, three in three hours, one in six
    assert f"about {now + timedelta(hours=6):%-d %b %Y, %H:%M} UTC: the last of all that wait" in shown


def test_a_certificate_with_its_issuer_its_end_and_its_renewal(
    alice: Client, domain: Domain, ordering: None
) -> None:
    now = clock.now().replace(year=2026, month=3, day=1, hour=10, minute=5)
    certificate = Certificate.objects.create(
        organisation=domain.organisation, domain=domain, host="mta-sts.example.test", directory="https://ca.test/dir",
        chain="", key=b"", issuer="CN=Example <b>CA</b>", sequence=1,
        not_before=now, not_after=now + timedelta(days=90),
    )  # fmt: skip
    care(domain, state=CareState.GOOD, current=certificate, renew_at=now + timedelta(days=60), renew_why="suggested",
         explanation_url="https://ca.test/why")  # fmt: skip
    shown = page(alice, domain)
    assert "CN=Example &lt;b&gt;CA&lt;/b&gt;" in shown
    assert "30 May 2026, 10:05 UTC" in shown
    assert "30 Apr 2026, 10:05 UTC, when its authority suggests it" in shown
    assert 'href="https://ca.test/why"' in shown


@pytest.mark.parametrize(
    ("state", "title"),
    [
        (CareState.FAILING, "The certificate of the policy host is refused"),
        (CareState.FORBIDDEN, "CAA records forbid the certificate of the policy host"),
        (CareState.GONE, "The policy host leads elsewhere, and its certificate is not renewed"),
    ],
)
def test_what_people_have_to_mend_is_a_problem_until_it_is_mended(
    alice: Client, domain: Domain, ordering: None, state: CareState, title: str
) -> None:
    row = care(domain, state=state, detail="the CA's own words")
    settle(domain.pk, Problems())
    assert "the CA&#x27;s own words" in page(alice, domain)
    problem = Problem.objects.get()
    assert title in alice.get(reverse("problem-detail", args=[problem.pk])).content.decode()
    assert problem.closed_at is None
    settle(domain.pk, Problems())
    assert Problem.objects.count() == 1
    row.state = CareState.GOOD
    row.save()
    settle(domain.pk, Problems())
    assert Problem.objects.get().closed_at is not None


def test_trouble_with_a_name_of_the_installation_is_on_every_page(
    alice: Client, domain: Domain, ordering: None
) -> None:
    host = PolicyHost(public_name="policies.test")
    with with_settings(acme=Acme(directories=("https://ca.test/dir",)), policy_host=host):
        row = OwnNameCare.objects.create(
            host="policies.test", due_at=clock.now(), state=CareState.REACH, detail="<b> has no address"
        )
        assert "policies.test gets no certificate." in page(alice, domain)
        assert "&lt;b&gt; has no address" in page(alice, domain)
        for state in (CareState.GOOD, CareState.ORDERED, CareState.QUEUED):
            row.state = state
            row.save()
            assert "gets no certificate" not in page(alice, domain)
    # a name of before
    row.state = CareState.FAILING
    row.save()
    assert "gets no certificate" not in page(alice, domain)


def test_check_now_looks_after_the_certificate_too(alice: Client, domain: Domain, ordering: None) -> None:
    row = care(domain, state=CareState.REACH, waiting_since=clock.now() - timedelta(days=3))
    alice.post(reverse("domain-check", args=[domain.name]))
    row.refresh_from_db()
    assert row.due_at <= clock.now()
    assert row.waiting_since is not None
    assert clock.now() - row.waiting_since < timedelta(minutes=1)


def test_the_authority_and_the_kind_of_certificate_are_chosen_for_a_domain(
    alice: Client, domain: Domain, ordering: None
) -> None:
    address = reverse("domain-certificate", args=[domain.name])
    alice.post(address, {"certificate-directory": "https://ca.test/dir", "certificate-profile": "shortlived"})
    row = CertificateCare.objects.get()
    assert (row.directory, row.profile) == ("https://ca.test/dir", "shortlived")
    assert 'value="shortlived"' in page(alice, domain)
    for wrong in ({"certificate-directory": "https://evil.test/dir"}, {"certificate-profile": "a b"}):
        assert "That is no certificate authority" in alice.post(address, wrong, follow=True).content.decode()
    row.refresh_from_db()
    assert (row.directory, row.profile) == ("https://ca.test/dir", "shortlived")
