"""The pages of domains, with a real DNS server on loopback."""

import re
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.evidence import make_domains
from tests.web.pages import with_settings

from mailward.config import Dns, Nameserver, PolicyHost
from mailward.core.mtasts.policy import Mode, Policy
from mailward.monitor.records import RecordKey, RecordState, State
from mailward.net import clock
from mailward.store.models import Domain, DomainRecipient, Organisation, PolicyVersion, RecordCheck
from mailward.store.queries.domains import PAGE_SIZE
from mailward.store.queries.hosting import hosted_policies
from mailward.store.services.domains import record_states
from mailward.store.services.policies import publish_policy
from mailward.web.pages.domains.next_step import next_step


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    with server.threaded():
        address = (server.address,)
        with with_settings(dns=Dns(resolvers=address, authoritative_override=address)):
            yield server


def setup_of(domain: Domain) -> str:
    return reverse("domain-setup", args=[domain.name])


def text(client: Client, address: str) -> str:
    return client.get(address).content.decode()


def add(client: Client, names: str, *, begin: bool = False) -> str:
    values = {"names": names, **({"begin": "on"} if begin else {})}
    return client.post(reverse("domain-add"), values, follow=True).content.decode()


def test_an_empty_list_says_what_to_do(alice: Client) -> None:
    assert "Add your first domain" in text(alice, reverse("domain-list"))


def test_an_added_domain_serves_a_testing_policy_with_its_live_mx_at_once(
    alice: Client, dns: FakeDns
) -> None:
    dns.set("new.test", "MX", "10 mx1.new.test.", "20 MX2.new.test.")
    page = add(alice, "New.Test.", begin=True)
    assert "Set-up of new.test" in page
    version = PolicyVersion.objects.get()
    assert version.text == (
        "version: STSv1\r\nmode: testing\r\nmx: mx1.new.test\r\nmx: mx2.new.test\r\nmax_age: 86400\r\n"
    )
    assert version.author is not None
    assert version.policy_id not in page  # nobody has seen yet that it is served


def test_a_domain_whose_mx_is_not_known_is_added_without_a_policy(alice: Client, dns: FakeDns) -> None:
    page = add(alice, "silent.test", begin=True)
    assert "No policy yet: silent.test" in page
    assert Domain.objects.get().current_version is None


@pytest.mark.parametrize("label", ["_mta-sts", "mta-sts"])
def test_a_domain_whose_policy_elsewhere_is_not_known_waits(alice: Client, dns: FakeDns, label: str) -> None:
    dns.set("held.test", "MX", "10 mx1.held.test.")
    dns.fail(Fault.SERVFAIL, f"{label}.held.test")
    page = add(alice, "held.test", begin=True)
    assert f"senders may hold a policy from elsewhere: DNS did not answer for {label}.held.test" in page
    assert Domain.objects.get().current_version is None


def test_many_domains_are_pasted_at_once(alice: Client) -> None:
    page = add(alice, "one.test\nmüller.test, user@two.test\n\nmta-sts.three.test\n")
    assert set(Domain.objects.values_list("name", flat=True)) == {
        "one.test", "xn--mller-kva.test", "two.test", "three.test",
    }  # fmt: skip
    assert "müller.test" in page


BAD_NAMES = [
    ("", "This field is required"),
    ("under_score.test", "is no label"),
    ("com", "has one label only"),
    ("192.0.2.1", "is an address"),
    ("good.test\nbad..test", "Line 2, bad..test: the name has an empty label"),
    ("\n".join(f"d{number}.test" for number in range(501)), "501 lines are too many"),
    ("x" * 100_001, "at most 100000 characters"),
]


@pytest.mark.parametrize(("names", "reason"), BAD_NAMES)
def test_what_is_no_domain_is_told_and_nothing_is_added(alice: Client, names: str, reason: str) -> None:
    assert reason in add(alice, names)
    assert not Domain.objects.exists()


def test_the_list_finds_a_domain_by_its_name(alice: Client, domain: Domain) -> None:
    assert domain.name in text(alice, reverse("domain-list") + "?q=EXAMPLE")
    assert "No domain fits" in text(alice, reverse("domain-list") + "?q=nowhere")
    assert domain.name in text(alice, reverse("domain-list") + "?show=made-up&page=what")


def test_the_set_up_shows_each_record_to_publish(alice: Client, domain: Domain) -> None:
    page = text(alice, setup_of(domain))
    for value in (
        "_mailward-challenge.example.test",
        f"mailward-claim={domain.claim_token}",
        "mta-sts.example.test",
        "_smtp._tls.example.test",
        f"v=TLSRPTv1; rua=mailto:{domain.report_token}@reports.localhost",
    ):
        assert value in page
    assert "not asked yet" in page
    assert "Serve a policy" in page


def test_records_that_lead_to_this_machine_alone_are_said_not_to_be_for_publishing(
    alice: Client, domain: Domain
) -> None:
    shown = text(alice, setup_of(domain))
    assert "They lead to <code>localhost</code>" in shown
    assert "set by <code>policy_host.public_name</code> and <code>reports.domain</code>." in shown
    with with_settings(policy_host=PolicyHost(public_name="policies.example.net")):
        shown = text(alice, setup_of(domain))
        assert "One of them leads to <code>localhost</code>" in shown
        assert "set by <code>reports.domain</code>." in shown
    with with_settings(nameserver=Nameserver(zone="sts.example.net", servers=("ns1.example.net",))):
        assert "Not to be published as they are" not in text(alice, setup_of(domain))


def test_check_now_asks_dns_and_notes_a_claim(alice: Client, domain: Domain, dns: FakeDns) -> None:
    dns.set("_mailward-challenge.example.test", "TXT", f"mailward-claim={domain.claim_token}")
    page = alice.post(reverse("domain-check", args=[domain.name]), follow=True).content.decode()
    assert "1 of 3 records are right" in page
    assert "ownership proved" in page
    states = dict(RecordCheck.objects.values_list("record", "state"))
    assert states == {"claim": "right", "mta-sts": "missing", "_smtp._tls": "missing"}


def test_a_wrong_record_is_shown_with_what_dns_says(alice: Client, domain: Domain, dns: FakeDns) -> None:
    dns.set("_smtp._tls.example.test", "TXT", "v=TLSRPTv1; rua=mailto:<b>@elsewhere.test")
    page = alice.post(reverse("domain-check", args=[domain.name]), follow=True).content.decode()
    assert "rua=mailto:&lt;b&gt;@elsewhere.test" in page
    assert "<b>@" not in page


def test_recipients_come_and_go(alice: Client, domain: Domain) -> None:
    alice.post(reverse("domain-recipient-add", args=[domain.name]), {"email": "Ops@Example.test"})
    assert "ops@example.test" in text(alice, setup_of(domain))
    bad = alice.post(reverse("domain-recipient-add", args=[domain.name]), {"email": "nonsense"})
    assert b"Enter a valid email address" in bad.content
    recipient = DomainRecipient.objects.get()
    alice.post(reverse("domain-recipient-remove", args=[domain.name, recipient.pk]))
    assert not DomainRecipient.objects.exists()


def test_a_domain_is_removed_once_its_name_is_typed(alice: Client, domain: Domain) -> None:
    address = reverse("domain-remove", args=[domain.name])
    assert b"This is not example.test" in alice.post(address, {"confirmation": "example.tset"}).content
    alice.post(address, {"confirmation": "Example.Test"})
    assert not Domain.objects.exists()


def test_a_reader_sees_the_set_up_and_no_button(rita: Client, domain: Domain) -> None:
    page = text(rita, setup_of(domain))
    assert "_smtp._tls.example.test" in page
    assert "Check now</button>" not in page
    assert reverse("domain-remove", args=[domain.name]) not in page


def test_a_list_page_takes_as_many_queries_for_fifty_domains_as_for_one(
    alice: Client,
    domain: Domain,
) -> None:
    with CaptureQueriesContext(connection) as few:
        alice.get(reverse("domain-list"))
    add(alice, "\n".join(f"d{number}.test" for number in range(60)))
    with CaptureQueriesContext(connection) as many:
        alice.get(reverse("domain-list"))
    assert len(many) == len(few)


def test_a_claim_that_somebody_else_holds_is_told(
    alice: Client, domain: Domain, strangers: Organisation, dns: FakeDns
) -> None:
    theirs = Domain.objects.create(
        organisation=strangers,
        name=domain.name,
        report_token="t",
        claim_token="c",
        claim_verified_at=clock.now(),
    )
    record_states(theirs.pk, [RecordState(RecordKey.CLAIM, State.RIGHT, "")])
    dns.set("_mailward-challenge.example.test", "TXT", f"mailward-claim={domain.claim_token}")
    page = alice.post(reverse("domain-check", args=[domain.name]), follow=True).content.decode()
    assert "another organisation has proved example.test" in page
    assert "Not served yet" in page


def test_the_head_of_a_domain_says_how_its_records_stand(alice: Client, domain: Domain, dns: FakeDns) -> None:
    overview = reverse("domain-home", args=[domain.name])
    assert "records: not checked yet" in text(alice, overview)
    dns.set("_smtp._tls.example.test", "TXT", "v=TLSRPTv1; rua=mailto:a@elsewhere.test")
    alice.post(reverse("domain-check", args=[domain.name]))
    assert "records: wrong" in text(alice, overview)


STEPS = [
    ("missing", "Next record", "Publish the TXT record that proves the domain is yours."),
    ("wrong", "A record is wrong", "see below what DNS says"),
    ("conflicting", "Records contradict each other", "see below what DNS says"),
    ("unknown", "Check a record", "press “Check now”"),
]


@pytest.mark.parametrize(("state", "title", "words"), STEPS)
def test_the_next_step_fits_the_state_of_the_record(state: str, title: str, words: str) -> None:
    served = Domain(name="example.test", current_version=PolicyVersion(mode="testing"))
    step = next_step(served, {"claim": state, "mta-sts": "right"})
    assert (step.title, step.anchor) == (title, "claim")
    assert words in step.text


def test_a_policy_that_waits_for_proof_is_nowhere_said_to_be_served(
    alice: Client, domain: Domain, strangers: Organisation
) -> None:
    policy = Policy(Mode.ENFORCE, 86_400, ("mx1.example.test",))
    publish_policy(domain.organisation_id, domain.pk, policy, author_id=None)
    addresses = [
        reverse(name, args=[domain.name]) for name in ("domain-home", "domain-policy", "domain-history")
    ]
    for address in (reverse("domain-list"), setup_of(domain), *addresses):
        assert "enforce, not served yet" in text(alice, address), address
        assert "erved now" not in text(alice, address), address
    assert domain.name in text(alice, reverse("domain-list") + "?show=unserved")
    assert hosted_policies().policies == {}
    Domain.objects.update(claim_verified_at=clock.now())
    assert "Served now" in text(alice, reverse("domain-policy", args=[domain.name]))
    assert list(hosted_policies().policies) == [domain.name]


def test_of_many_pages_the_first_and_the_last_are_one_click_away(alice: Client, domain: Domain) -> None:
    make_domains(domain.organisation, (f"d{number}.test" for number in range(4 * PAGE_SIZE)))
    links = {
        number: re.findall(
            r'href="(\?[^"]*)">(First|Previous|Next|Last)<', text(alice, f"/domains/?page={number}")
        )
        for number in (1, 3, 5)
    }
    assert [label for _, label in links[1]] == ["Next", "Last"]
    assert links[3] == [("?", "First"), ("?page=2", "Previous"), ("?page=4", "Next"), ("?page=5", "Last")]
    assert [label for _, label in links[5]] == ["First", "Previous"]


@pytest.mark.parametrize("query", ["/?q=%00a", "/records/?names=%00"])
def test_a_search_for_what_no_text_holds_finds_nothing(alice: Client, query: str) -> None:
    assert alice.get(reverse("domain-list").rstrip("/") + query).status_code == 200
