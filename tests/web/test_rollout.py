"""The way to enforce on its pages, with a real DNS server on loopback for the moment of the promotion."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from tests.core.check import made
from tests.fakes.dns import FakeDns
from tests.fakes.evidence import make_domains, report_failures, report_success
from tests.fakes.looks import look_at
from tests.web.pages import with_settings

from mailward.config import Dns, Settings
from mailward.core.mtasts.policy import Mode, Policy
from mailward.net import clock
from mailward.store.models import AutomaticChoice, Domain, DomainEvent, Organisation, Rollout
from mailward.store.services import automatic, rollout
from mailward.store.services.policies import publish_policy

NAME = "example.test"
PAGE = f"/domains/{NAME}/rollout/"


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    server.set(NAME, "MX", f"10 {made.MX}.")
    with server.threaded(), with_settings(dns=Dns(resolvers=(server.address,))):
        yield server


@pytest.fixture
def ready(domain: Domain) -> Domain:
    now = clock.now()
    with clock.frozen(now - timedelta(days=20)):
        version = publish_policy(
            domain.organisation_id, domain.pk, Policy(Mode.TESTING, 86_400, (made.MX,)), author_id=None
        )
    for back in range(1, 20):
        for reporter in ("google.com", "microsoft.com"):
            report_success([domain], (now - timedelta(days=back)).date(), reporter)
    served = replace(made.policy_host().fetches[0], body=version.text.encode())
    record = made.record(f"v=STSv1; id={version.policy_id};")
    look_at(domain, made.facts(at=now, policy_host=made.policy_host(served), **record))
    return domain


def test_a_reader_sees_the_verdict_and_no_button(rita: Client, ready: Domain) -> None:
    shown = rita.get(PAGE).content.decode()
    assert "Enforce is safe by all that was seen." in shown
    assert "3,800 in 28 days" in shown
    assert "<form" not in shown.split('id="verdict"')[1]


@pytest.mark.usefixtures("dns")
def test_a_click_enforces_and_stands_in_the_history(alice: Client, ready: Domain) -> None:
    answer = alice.post(
        reverse("domain-promote", args=[NAME]), {"based_on": "1", "reason": "<b>seen</b>"}, follow=True
    )
    shown = answer.content.decode()
    assert "Version 2 enforces the policy." in shown
    assert "&lt;b&gt;seen&lt;/b&gt;" in shown
    # the look was before it, and knows nothing of it
    assert "not looked at since version 2 of" in shown
    assert "not the present text" not in shown
    assert DomainEvent.objects.get(kind="rollout-promoted").author is not None


def test_an_mx_host_that_is_new_at_this_moment_stops_the_click(
    alice: Client, ready: Domain, dns: FakeDns
) -> None:
    dns.set(NAME, "MX", f"10 {made.MX}.", "20 mx.other.test.")
    answer = alice.post(reverse("domain-promote", args=[NAME]), {"based_on": "1"}, follow=True)
    assert "mx.other.test is an MX host and not in the policy" in answer.content.decode()
    version = Domain.objects.get(pk=ready.pk).current_version
    assert version is not None
    assert version.mode == "testing"


@pytest.mark.usefixtures("dns")
def test_what_is_not_ready_is_not_enforced_by_a_forged_click(alice: Client, ready: Domain) -> None:
    report_failures([ready], clock.today() - timedelta(days=1), "<script>x", failed=9, host=made.MX)
    shown = alice.get(PAGE).content.decode()
    assert "Enforce now" not in shown
    assert "&lt;script&gt;x" in shown
    answer = alice.post(
        reverse("domain-promote", args=[NAME]), {"based_on": "1"}, follow=True
    ).content.decode()
    assert "Not enforced. Do not enforce yet: mail would be refused." in answer


def test_what_happens_by_itself_is_chosen(alice: Client, ready: Domain) -> None:
    address = reverse("domain-rollout-choose", args=[NAME])
    alice.post(address, {"is_automatic": "on", "hold_days": "3"})
    row = Rollout.objects.get()
    assert (row.is_automatic, row.hold_days, row.steps_back) == (True, 3, False)
    assert "field-bad" in alice.post(address, {"hold_days": "0"}).content.decode()


def test_without_a_policy_the_page_says_so_and_leads_to_one(
    alice: Client, rita: Client, domain: Domain
) -> None:
    link = f'href="/domains/{NAME}/policy/edit/"'
    assert "Begin in testing mode" in rita.get(PAGE).content.decode()
    assert link in alice.get(PAGE).content.decode()
    assert link not in rita.get(PAGE).content.decode()


def test_the_list_is_filtered_by_state_and_name(
    rita: Client, ready: Domain, organisation: Organisation
) -> None:
    make_domains(organisation, ["other.test"])
    rollout.judge_domains(list(Domain.objects.values_list("pk", flat=True)), Settings())
    everything = rita.get("/rollout/").content.decode()
    assert PAGE in everything
    assert "/domains/other.test/rollout/" in everything
    only = rita.get("/rollout/?show=ready").content.decode()
    assert PAGE in only
    assert "/domains/other.test/rollout/" not in only
    assert PAGE not in rita.get("/rollout/?q=other").content.decode()
    assert rita.get("/rollout/?show=x&page=99999999999&q=%00").status_code == 200


def test_ten_thousand_domains_are_listed_in_a_fixed_number_of_queries(
    rita: Client, organisation: Organisation, django_assert_max_num_queries: pytest.FixtureRequest
) -> None:
    domains = make_domains(organisation, [f"d{n:05}.test" for n in range(10_000)])
    Rollout.objects.bulk_create(
        Rollout(domain=domain, organisation=organisation, state="waiting" if n % 3 else "ready")
        for n, domain in enumerate(domains)
    )
    with django_assert_max_num_queries(16):  # type: ignore[operator]  # pytest-django's fixture
        shown = rita.get("/rollout/?show=ready&page=40").content.decode()
    assert "Page 40 of 67" in shown


def test_many_are_turned_on_by_one_button_and_off_by_another(
    alice: Client, organisation: Organisation
) -> None:
    make_domains(organisation, [f"d{n:02}.test" for n in range(60)])
    shown = alice.get("/rollout/").content.decode()
    assert "0 of 60 domains: enforced without a click" in shown
    url = reverse("rollout-choose")
    answer = alice.post(url, {"wanted": "on-all", "hold_days": "10", "q": "", "show": ""}, follow=True)
    assert "after 10 days of readiness: kept for 60 domains." in answer.content.decode()
    assert "60 of 60 domains" in answer.content.decode()
    answer = alice.post(url, {"wanted": "off-all", "hold_days": "10", "q": "d1"}, follow=True)
    assert "0 of 10 domains found" in answer.content.decode()
    ticked = {"wanted": "off", "hold_days": "10", "domain": ["d20.test", "d21.test", "nobody.test"]}
    alice.post(url, ticked)
    assert Rollout.objects.filter(is_automatic=True).count() == 48


def test_more_than_fit_into_one_transaction_show_how_far_it_is(
    alice: Client, organisation: Organisation
) -> None:
    make_domains(organisation, [f"d{n:03}.test" for n in range(501)])
    values = {"wanted": "on-all", "hold_days": "10"}
    shown = alice.post(reverse("rollout-choose"), values, follow=True).content.decode()
    assert "kept for 0 of 501 domains so far. It goes on by itself, after a restart too." in shown
    assert 'http-equiv="refresh"' in shown
    while automatic.step(AutomaticChoice.objects.get().pk):
        pass
    shown = alice.get("/rollout/").content.decode()
    assert "after 10 days of readiness: kept for 501 domains." in shown
    assert 'http-equiv="refresh"' not in shown


def test_the_days_that_were_chosen_are_on_the_list_and_on_the_domain(
    rita: Client, alice: Client, domain: Domain
) -> None:
    publish_policy(
        domain.organisation_id, domain.pk, Policy(Mode.TESTING, 86_400, (made.MX,)), author_id=None
    )
    alice.post(reverse("domain-rollout-choose", args=[NAME]), {"is_automatic": "on", "hold_days": "9"})
    listed = rita.get("/rollout/").content.decode()
    assert 'data-label="By itself">after 9 days</td>' in listed
    assert "once it has been ready for 9 days without a break" in rita.get(PAGE).content.decode()


def test_a_reader_sees_who_is_enforced_by_itself_and_no_button(rita: Client, domain: Domain) -> None:
    shown = rita.get("/rollout/").content.decode()
    assert "0 of 1 domain: enforced without a click" in shown
    assert 'type="checkbox"' not in shown
    assert rita.post(reverse("rollout-choose"), {"wanted": "on-all", "hold_days": "7"}).status_code == 403
