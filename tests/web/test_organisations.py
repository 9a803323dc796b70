"""One person in several organisations: which one they see, and how they go to another."""

import pytest
from django.test import Client
from django.urls import reverse

from mailward.store.models import Domain, Membership, Organisation, Role, User


@pytest.fixture
def both(bob_user: User, strangers: Organisation) -> Organisation:
    """Bob, administrator of Example Ltd, reads at Strangers Inc too."""
    Membership.objects.create(organisation=strangers, user=bob_user, role=Role.READER)
    Domain.objects.create(
        organisation=strangers, name="strangers.test", report_token="dom-strangers", claim_token="c"
    )
    return strangers


def choose(client: Client, organisation: Organisation, **fields: str) -> str:
    """Where the browser is sent."""
    answer = client.post(reverse("organisation-choose", args=[organisation.pk]), fields)
    assert answer.status_code == 302, answer
    return str(answer.headers["Location"])


def test_who_belongs_to_one_organisation_is_offered_no_choice(alice: Client, both: Organisation) -> None:
    page = alice.get(reverse("domain-list")).content
    assert b"Owner of Example Ltd" in page
    assert b"/organisations/" not in page


def test_who_belongs_to_several_sees_where_they_are_and_where_else(bob: Client, both: Organisation) -> None:
    page = bob.get(reverse("domain-list")).content.decode()
    assert '<p aria-current="true"><span class="break">Example Ltd</span>' in page
    assert reverse("organisation-choose", args=[both.pk]) in page


def test_the_choice_is_kept_and_brings_its_domains_and_role(
    bob: Client, both: Organisation, domain: Domain
) -> None:
    assert choose(bob, both) == reverse("domain-list")
    page = bob.get(reverse("domain-list")).content
    assert b"strangers.test" in page
    assert b"example.test" not in page
    assert bob.get(reverse("domain-home", args=[domain.name])).status_code == 404
    assert bob.get(reverse("domain-add")).status_code == 403, "a reader here, an administrator there"
    choose(bob, domain.organisation)
    assert bob.get(reverse("domain-add")).status_code == 200


def test_a_page_of_the_other_organisation_offers_to_go_there(bob: Client, both: Organisation) -> None:
    address = reverse("domain-home", args=["strangers.test"]) + "?days=90"
    missing = bob.get(address)
    assert missing.status_code == 404
    assert b"Is it in another of your organisations?" in missing.content
    assert f'name="next" value="{address}"'.encode() in missing.content
    assert choose(bob, both, next=address) == address
    assert bob.get(address).status_code == 200


@pytest.mark.parametrize("elsewhere", ["https://evil.test/", "//evil.test/", "javascript:alert(1)"])
def test_nobody_is_sent_to_another_site(bob: Client, both: Organisation, elsewhere: str) -> None:
    assert choose(bob, both, next=elsewhere) == reverse("domain-list")


def test_a_chosen_organisation_that_one_is_removed_from_is_left(
    bob: Client, both: Organisation, domain: Domain
) -> None:
    choose(bob, both)
    Membership.objects.filter(organisation=both, user__email="bob@bob.test").delete()
    assert domain.name.encode() in bob.get(reverse("domain-list")).content
    assert bob.post(reverse("organisation-choose", args=[both.pk])).status_code == 404
