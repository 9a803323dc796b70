"""The MX hosts of a domain beside its policy, and the link in the mail."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from tests.fakes.dns import FakeDns
from tests.web.pages import with_settings

from mailward.config import Dns
from mailward.core.mtasts.change import ChangeFacts
from mailward.core.mtasts.policy import Mode, Policy
from mailward.net import clock
from mailward.store.models import Domain, DomainEvent, MxChange, MxFollow, PolicyVersion
from mailward.store.services.policies import publish_policy
from mailward.web import live
from mailward.web.pages.mx import views

ENFORCE = Policy(Mode.ENFORCE, 604_800, ("mx1.example.test", "gone.example.test"))


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    server.set("example.test", "MX", "10 mx1.example.test.", "20 mx2.example.test.")
    with server.threaded(), with_settings(dns=Dns(resolvers=(server.address,))):
        yield server


@pytest.fixture
def served(domain: Domain) -> PolicyVersion:
    return publish_policy(domain.organisation_id, domain.pk, ENFORCE, author_id=None)


@pytest.fixture
def waiting(domain: Domain, served: PolicyVersion) -> MxChange:
    return MxChange.objects.create(
        organisation=domain.organisation,
        domain=domain,
        kind="appeared",
        subject="mx2.example.test",
        patterns=["mx2.example.test"],
        state="waiting",
        noticed_at=clock.now(),
        due_at=clock.now() + timedelta(hours=24),
        veto_hash=hashlib.sha256(b"t0ken").hexdigest(),
    )


def shown(client: Client) -> str:
    return client.get(reverse("domain-mx", args=["example.test"])).content.decode()


@pytest.mark.usefixtures("dns", "served")
def test_the_page_has_both_side_by_side(rita: Client) -> None:
    page = shown(rita)
    assert 'mx1.example.test</code> <span class="badge badge-ok">in the policy' in page
    assert 'mx2.example.test</code> <span class="badge badge-bad">not in the policy' in page
    assert 'gone.example.test</code> <span class="badge badge-warn">in the policy, not in DNS' in page
    assert "Plan it" not in page


@pytest.mark.usefixtures("dns", "served")
def test_a_provider_is_recognised(alice: Client, dns: FakeDns) -> None:
    dns.set("example.test", "MX", "1 aspmx.l.google.com.", "5 alt1.aspmx.l.google.com.")
    assert "They are Google Workspace’s; to cover hosts that it may add: " in shown(alice)


@pytest.mark.usefixtures("served")
def test_a_planned_host_is_in_the_policy_before_it_is_live(
    alice: Client, domain: Domain, dns: FakeDns
) -> None:
    dns.set("example.test", "MX", "10 mx1.example.test.")
    day = (clock.now() + timedelta(days=3)).date()
    values = {"pattern": "MX2.example.test", "expected": day.isoformat(), "reason": "the move"}
    alice.post(reverse("mx-plan", args=["example.test"]), values)
    newest = PolicyVersion.objects.order_by("-number")[0]
    assert (newest.mx, newest.reason) == ([*ENFORCE.mx, "mx2.example.test"], "the move")
    assert MxChange.objects.get().state == "waiting"
    assert "is to be an MX host from" in shown(alice)
    assert "The policy covers it." in shown(alice)
    publish_policy(domain.organisation_id, domain.pk, ENFORCE, author_id=None)
    assert "The policy does not cover it: plan it once more." in shown(alice)


@pytest.mark.usefixtures("dns", "served")
def test_a_plan_that_would_lock_mail_out_is_refused(alice: Client) -> None:
    values = {"pattern": "mx3.example.test", "expected": clock.today().isoformat()}
    page = alice.post(reverse("mx-plan", args=["example.test"]), values).content.decode()
    assert "mx2.example.test is an MX host and not in the policy" in page
    assert (PolicyVersion.objects.count(), MxChange.objects.count()) == (1, 0)


@pytest.mark.usefixtures("served")
def test_a_plan_takes_nothing_back_that_somebody_publishes_meanwhile(
    alice: Client, domain: Domain, dns: FakeDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    dns.set("example.test", "MX", "10 mx1.example.test.")

    def ask(domain_id: int, policy: Policy) -> ChangeFacts:
        other = Policy(Mode.TESTING, 86_400, ("mx1.example.test",))
        publish_policy(domain.organisation_id, domain.pk, other, author_id=None)
        return live.change_facts_for(domain_id, policy)

    monkeypatch.setattr(views, "change_facts_for", ask)
    values = {"pattern": "mx2.example.test", "expected": clock.today().isoformat()}
    page = alice.post(reverse("mx-plan", args=["example.test"]), values, follow=True).content.decode()
    assert "Somebody else published another version meanwhile." in page
    assert PolicyVersion.objects.order_by("-number")[0].mode == "testing"
    assert not MxChange.objects.exists()


@pytest.mark.usefixtures("served")
def test_a_host_that_strict_senders_would_refuse_now_is_planned_once_that_was_read(
    alice: Client, domain: Domain, dns: FakeDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    dns.set("example.test", "MX", "10 mx1.example.test.")
    monkeypatch.setattr(views, "look_at_planned_host", lambda *_: "Certificate is self-signed")
    address = reverse("mx-plan", args=["example.test"])
    values = {"pattern": "mx2.example.test", "expected": clock.today().isoformat()}
    for said in ({}, {"anyway": "mx3.example.test"}):
        page = alice.post(address, values | said).content.decode()
        assert "as it is now:</strong> Certificate is self-signed." in page
        assert "Plan it all the same" in page
    assert (PolicyVersion.objects.count(), MxChange.objects.count()) == (1, 0)
    alice.post(address, values | {"anyway": "mx2.example.test"})
    assert MxChange.objects.get().subject == "mx2.example.test"
    newest = PolicyVersion.objects.order_by("-number")[0]
    assert "planned though strict senders would refuse it now: Certificate is self-signed" in newest.reason


def test_in_testing_mode_a_planned_host_is_not_asked_about(
    alice: Client, domain: Domain, dns: FakeDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    testing = Policy(Mode.TESTING, 604_800, ("mx1.example.test",))
    publish_policy(domain.organisation_id, domain.pk, testing, author_id=None)
    monkeypatch.setattr(views, "look_at_planned_host", lambda *_: "Certificate is self-signed")
    values = {"pattern": "mx2.example.test", "expected": clock.today().isoformat()}
    alice.post(reverse("mx-plan", args=["example.test"]), values)
    assert MxChange.objects.get().subject == "mx2.example.test"


@pytest.mark.usefixtures("dns")
def test_a_plan_does_not_bring_a_domain_back_that_leaves(alice: Client, domain: Domain) -> None:
    publish_policy(domain.organisation_id, domain.pk, Policy(Mode.NONE, 86_400), author_id=None)
    values = {"pattern": "mx2.example.test", "expected": clock.today().isoformat()}
    page = alice.post(reverse("mx-plan", args=["example.test"]), values, follow=True).content.decode()
    assert "Write a policy first: none is in force." in page
    assert PolicyVersion.objects.count() == 1


@pytest.mark.usefixtures("dns", "served")
def test_following_is_switched_on_by_a_person_and_recorded(alice: Client, domain: Domain) -> None:
    alice.post(reverse("mx-follow", args=["example.test"]), {"mode": "providers"})
    assert MxFollow.objects.get().mode == "providers"
    assert DomainEvent.objects.filter(kind="mx-follow").get().author is not None
    assert alice.post(reverse("mx-follow", args=["example.test"]), {"mode": "always"}).status_code == 400


@pytest.mark.usefixtures("waiting")
def test_looking_at_the_link_changes_nothing_and_its_button_objects(client: Client) -> None:
    address = reverse("veto", args=["t0ken"])
    assert "mx2.example.test" in client.get(address).content.decode()
    assert MxChange.objects.get().ended_at is None
    page = client.post(address).content.decode()
    assert "Somebody objected: the policy stays as it is." in page
    assert MxChange.objects.get().state == "vetoed"
    assert client.post(address).status_code == 200
    assert DomainEvent.objects.filter(kind="mx-vetoed").count() == 1


@pytest.mark.usefixtures("dns")
def test_whoever_may_write_objects_on_the_page(bob: Client, waiting: MxChange) -> None:
    assert "Somebody objected" not in shown(bob)
    bob.post(reverse("mx-end", args=["example.test", waiting.pk]))
    waiting.refresh_from_db()
    assert (waiting.state, waiting.author and waiting.author.name) == ("vetoed", "Bob")
    assert "Somebody objected: it is not followed." in shown(bob)


@pytest.mark.usefixtures("dns")
def test_a_host_that_has_left_is_taken_out_in_the_editor_and_not_asked_for_again(
    alice: Client, waiting: MxChange, domain: Domain
) -> None:
    left = {"kind": "departed", "subject": "gone.example.test", "state": "left", "is_told": True}
    MxChange.objects.filter(pk=waiting.pk).update(**left)
    editor = f"{reverse('domain-policy-edit', args=['example.test'])}?without=gone.example.test"
    assert f'"{editor}">Take it out of the policy' in shown(alice)
    form = alice.get(editor).context["form"]
    assert (form["mx"].value(), form["mode"].value()) == ("mx1.example.test", "enforce")
    publish_policy(
        domain.organisation_id,
        domain.pk,
        Policy(Mode.ENFORCE, 604_800, ("mx1.example.test",)),
        author_id=None,
    )
    assert "Take it out of the policy" not in shown(alice)
