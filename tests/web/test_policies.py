"""The pages of a policy, with a real DNS server on loopback."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from tests.fakes.dns import FakeDns
from tests.web.pages import with_settings

from mailward.config import Certificates, Dns, PolicyHost
from mailward.core.mtasts.policy import Mode, Policy
from mailward.net import clock
from mailward.store.models import Domain, DomainEvent, PolicyVersion, Problem, ProblemDomain, Rollout
from mailward.store.services.policies import publish_policy

TESTING = Policy(Mode.TESTING, 86_400, ("mx1.example.test",))


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    server.set("example.test", "MX", "10 mx1.example.test.", "20 mx2.example.test.")
    with server.threaded(), with_settings(dns=Dns(resolvers=(server.address,))):
        yield server


@pytest.fixture
def served(domain: Domain) -> PolicyVersion:
    return publish_policy(domain.organisation_id, domain.pk, TESTING, author_id=None)


def edit(client: Client, step: str, **changes: str) -> str:
    values = {"mode": "testing", "mx": "mx1.example.test", "age": "86400", "reason": "", "based_on": "0"}
    address = reverse("domain-policy-edit", args=["example.test"])
    return client.post(address, values | changes | {"step": step}, follow=True).content.decode()


@pytest.mark.usefixtures("dns", "served")
def test_before_enforce_what_speaks_against_it_is_named(alice: Client, domain: Domain) -> None:
    told = "The page Rollout calls it not safe: mx1.example.test would be refused."
    row = Rollout.objects.create(
        domain=domain,
        organisation=domain.organisation,
        state="blocked",
        codes=["host-refused"],
        sentence="mx1.example.test would be refused.",
    )
    assert told in edit(alice, "review", mode="enforce", based_on="1")
    Rollout.objects.filter(pk=row.pk).update(codes=["change-refused"])
    assert told not in edit(alice, "review", mode="enforce", based_on="1")
    Rollout.objects.filter(pk=row.pk).update(codes=["testing-short"], state="waiting")
    assert told not in edit(alice, "review", mode="enforce", based_on="1")


@pytest.mark.usefixtures("domain", "dns")
def test_the_first_policy_is_proposed_from_the_live_mx(alice: Client) -> None:
    page = alice.get(reverse("domain-policy-edit", args=["example.test"])).content.decode()
    assert "mx1.example.test\nmx2.example.test</textarea>" in page
    assert re.search(r'value="testing" required checked', page)


@pytest.mark.usefixtures("domain", "dns")
def test_a_change_is_looked_at_before_it_is_published(alice: Client) -> None:
    page = edit(alice, "review", mode="enforce")
    assert re.findall(r'id="refused-([a-z-]+)"', page) == ["mx-not-covered", "never-tested"]
    assert "mx2.example.test is an MX host and not in the policy" in page
    assert not PolicyVersion.objects.exists()


@pytest.mark.usefixtures("dns")
def test_publishing_makes_a_version_with_its_author_and_reason(alice: Client, domain: Domain) -> None:
    page = edit(alice, "publish", reason="<b>because</b>")
    version = PolicyVersion.objects.get()
    assert (version.author and version.author.name, version.reason) == ("Alice", "<b>because</b>")
    assert version.policy_id in page
    history = alice.get(reverse("domain-history", args=[domain.name])).content.decode()
    assert "&lt;b&gt;because&lt;/b&gt;" in history


@pytest.mark.usefixtures("dns", "served")
def test_what_would_lock_mail_out_is_refused_until_the_name_is_typed(alice: Client, domain: Domain) -> None:
    for confirm in ("", "yes", "example.tes"):
        page = edit(alice, "publish", mode="enforce", based_on="1", confirm=confirm)
        assert "Type example.test, or change the policy." in page
        assert PolicyVersion.objects.count() == 1
    edit(alice, "publish", mode="enforce", based_on="1", confirm=" Example.test ", reason="mx2 goes today")
    assert PolicyVersion.objects.first().mode == "enforce"  # type: ignore[union-attr]
    kinds = DomainEvent.objects.filter(domain=domain).order_by("id").values_list("kind", "reason", "author")
    assert list(kinds)[1:] == [
        ("policy-changed", "mx2 goes today", domain.organisation.memberships.get().user_id),
        ("policy-forced", "mx2 goes today", domain.organisation.memberships.get().user_id),
    ]


@pytest.mark.usefixtures("dns", "served")
def test_two_people_do_not_overwrite_each_other(alice: Client, bob: Client) -> None:
    edit(bob, "publish", age="1209600", based_on="1")
    assert "Somebody else published another version" in edit(alice, "publish", age="604800", based_on="1")
    assert PolicyVersion.objects.count() == 2


@pytest.mark.usefixtures("dns", "served")
def test_the_same_policy_again_changes_nothing(alice: Client) -> None:
    assert "Nothing would change" in edit(alice, "review", based_on="1")
    assert "Nothing changed" in edit(alice, "publish", based_on="1")
    assert PolicyVersion.objects.count() == 1


@pytest.mark.usefixtures("domain", "dns")
def test_the_live_hosts_replace_those_in_the_form_and_nothing_else(alice: Client) -> None:
    page = edit(alice, "propose", mx="old.example.test", mode="enforce", reason="kept")
    assert "mx1.example.test\nmx2.example.test</textarea>" in page
    assert "old.example.test" not in page
    assert 'value="kept"' in page
    assert re.search(r'value="enforce" required checked', page)


BAD_POLICIES = [
    ({"mx": ""}, "Name at least one MX host"),
    ({"mx": "mx1.example.test\n*.*.test"}, "Line 2, *.*.test"),
    ({"mx": "192.0.2.1"}, "is an address"),
    ({"mode": "strict"}, "Select a valid choice"),
    ({"age": "other"}, "Give the number of seconds"),
    ({"age": "other", "other_age": "31557601"}, "less than or equal to 31557600"),
    ({"age": "other", "other_age": "-1"}, "greater than or equal to 1"),
    ({"mx": "\n".join(f"mx{number}.test" for number in range(101))}, "names 100 hosts at most"),
]


@pytest.mark.usefixtures("domain", "dns")
@pytest.mark.parametrize(("changes", "reason"), BAD_POLICIES)
def test_what_is_no_policy_is_told_beside_the_field(
    alice: Client, changes: dict[str, str], reason: str
) -> None:
    assert reason in edit(alice, "publish", **changes)
    assert not PolicyVersion.objects.exists()


@pytest.mark.usefixtures("dns")
def test_one_click_restores_an_older_version(alice: Client, served: PolicyVersion) -> None:
    edit(alice, "publish", mode="none", mx="", based_on="1")
    alice.post(reverse("domain-restore", args=["example.test", served.number]))
    newest = PolicyVersion.objects.order_by("-number")[0]
    assert (newest.number, newest.text, newest.restored_from) == (3, served.text, 1)
    assert newest.policy_id != served.policy_id


@pytest.mark.usefixtures("served")
def test_the_page_says_how_to_see_the_policy(alice: Client) -> None:
    address = reverse("domain-policy", args=["example.test"])
    assert "curl --cacert" in alice.get(address).content.decode()
    with with_settings(certificates=Certificates(development_ca=False)):
        page = alice.get(address).content.decode()
        assert "curl --resolve" in page
        assert "--cacert" not in page


@pytest.mark.usefixtures("served")
def test_behind_another_server_the_page_asks_that_one(alice: Client) -> None:
    """Our own port has no certificate there, or wants a PROXY header."""
    policy_host = PolicyHost(port=8443, nodes=("192.0.2.10:443",), fronts=("127.0.0.1",))
    with with_settings(policy_host=policy_host, certificates=Certificates(development_ca=False)):
        page = alice.get(reverse("domain-policy", args=["example.test"])).content.decode()
    name = "mta-sts.example.test"
    assert f"curl --resolve {name}:443:192.0.2.10 https://{name}/.well-known/mta-sts.txt" in page


@pytest.mark.usefixtures("served")
def test_a_reader_sees_the_policy_and_cannot_change_it(rita: Client) -> None:
    page = rita.get(reverse("domain-policy", args=["example.test"])).content.decode()
    assert "mode: testing" in page
    assert reverse("domain-policy-edit", args=["example.test"]) not in page


@pytest.mark.usefixtures("dns", "served")
def test_before_enforce_the_open_problems_of_the_domain_are_named(alice: Client, domain: Domain) -> None:
    now = clock.now()
    problem = Problem.objects.create(
        organisation=domain.organisation, result_type="certificate-expired", host="mx1.example.test",
        opened_at=now, first_day=now.date(), last_day=now.date(),
    )  # fmt: skip
    ProblemDomain.objects.create(
        problem=problem,
        domain=domain,
        organisation=domain.organisation,
        first_day=now.date(),
        last_day=now.date(),
    )
    page = edit(alice, "review", mode="enforce", based_on="1")
    assert "Reports show open problems: Certificate expired: mx1.example.test." in page
    assert "Reports show" not in edit(alice, "review", mode="none", based_on="1")


@pytest.mark.usefixtures("domain", "dns")
def test_what_was_filled_in_is_kept_through_the_review(alice: Client) -> None:
    page = edit(alice, "review", age="other", other_age="7200", reason='"quoted" <reason>')
    assert '<input type="hidden" name="other_age" value="7200">' in page
    assert '<input type="hidden" name="reason" value="&quot;quoted&quot; &lt;reason&gt;">' in page
    assert "aria-describedby" not in page


@pytest.mark.usefixtures("dns")
def test_a_week_of_testing_is_counted_from_when_it_was_last_begun(
    alice: Client, domain: Domain, served: PolicyVersion
) -> None:
    page = alice.get(reverse("domain-policy", args=["example.test"])).content.decode()
    assert "<dt>By</dt><dd>Mailward, its command line, or somebody who has left</dd>" in page
    PolicyVersion.objects.filter(pk=served.pk).update(created_at=clock.now() - timedelta(days=300))
    none = Policy(Mode.NONE, 86_400)
    with clock.frozen(clock.now() - timedelta(days=20)):
        publish_policy(domain.organisation_id, domain.pk, none, author_id=None)
    with clock.frozen(clock.now() - timedelta(days=1)):
        publish_policy(domain.organisation_id, domain.pk, TESTING, author_id=None)
    page = edit(alice, "review", mode="enforce", mx="mx1.example.test\nmx2.example.test", based_on="3")
    assert f"It has been in testing mode since {clock.now() - timedelta(days=1):%-d %B} only" in page
