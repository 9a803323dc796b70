from datetime import timedelta

import pytest

from mailward.net import clock
from mailward.store.models import Invitation, Membership, Organisation, Role, User
from mailward.store.scope import Scope, scope_of
from mailward.store.services import accounts
from mailward.store.services.accounts import AccountError, LinkSpent, Newcomer

ADA = Newcomer("Ada@Example.Test", "Ada", "a long enough secret")


def scope(user: User) -> Scope:
    found = scope_of(user)
    assert found is not None
    return found


def start() -> User:
    token = accounts.first_administrator_link()
    assert token is not None
    return accounts.start_organisation(token, ADA, "Analytical Engines")


@pytest.mark.django_db
def test_the_first_link_makes_an_owner_and_names_the_organisation() -> None:
    ada = start()
    assert ada.email == "ada@example.test"
    assert ada.check_password(ADA.password)
    assert scope(ada).role == Role.OWNER
    assert scope(ada).organisation().name == "Analytical Engines"


@pytest.mark.django_db
def test_a_new_first_link_replaces_the_old_one_and_makes_no_second_organisation() -> None:
    old, new = accounts.first_administrator_link(), accounts.first_administrator_link()
    assert old is not None
    assert new is not None
    assert accounts.find_invitation(old) is None
    assert accounts.find_invitation(new) is not None
    assert Organisation.objects.count() == 1


@pytest.mark.django_db
def test_there_is_no_first_link_once_somebody_has_an_account() -> None:
    start()
    assert accounts.first_administrator_link() is None


@pytest.mark.django_db
def test_a_link_works_once_and_for_a_day() -> None:
    token = accounts.first_administrator_link()
    assert token is not None
    with clock.frozen(clock.now() + timedelta(hours=25)), pytest.raises(LinkSpent):
        accounts.start_organisation(token, ADA, "Late Ltd")
    accounts.start_organisation(token, ADA, "Analytical Engines")
    with pytest.raises(LinkSpent):
        accounts.start_organisation(token, ADA, "Twice Ltd")


@pytest.mark.django_db
def test_the_token_itself_is_kept_nowhere() -> None:
    token = accounts.first_administrator_link()
    assert token is not None
    row = Invitation.objects.values().get()
    assert all(token not in str(value) for value in row.values())


def test_an_invitation_gives_the_address_and_role_that_the_owner_chose(alice_user: User) -> None:
    token = accounts.invite(scope(alice_user), "Rob@New.Test", Role.READER)
    rob = accounts.accept_invitation(token, Newcomer("other@evil.test", "Rob", "another long secret"))
    assert (rob.email, scope(rob).role) == ("rob@new.test", Role.READER)
    assert scope(rob).organisation_id == scope(alice_user).organisation_id


def test_an_invitation_is_no_way_into_an_account_that_exists(alice_user: User, charlie_user: User) -> None:
    token = accounts.invite(scope(alice_user), charlie_user.email, Role.OWNER)
    with pytest.raises(AccountError, match="has an account already"):
        accounts.accept_invitation(token, Newcomer("", "Mallory", "stolen with a link"))
    accounts.join_signed_in(token, charlie_user)
    assert Membership.objects.filter(user=charlie_user).count() == 2


def test_an_invitation_is_for_one_address(alice_user: User, charlie_user: User) -> None:
    token = accounts.invite(scope(alice_user), "rob@new.test", Role.OWNER)
    with pytest.raises(AccountError, match="another mail address"):
        accounts.join_signed_in(token, charlie_user)
    assert accounts.find_invitation(token) is not None


def test_a_member_is_not_invited_again(alice_user: User, bob_user: User) -> None:
    with pytest.raises(AccountError, match="member already"):
        accounts.invite(scope(alice_user), bob_user.email, Role.READER)


def test_the_last_owner_neither_leaves_nor_steps_down(alice_user: User, bob_user: User) -> None:
    us = scope(alice_user)
    alice, bob = (us.memberships().get(user=user) for user in (alice_user, bob_user))
    with pytest.raises(AccountError, match="last owner"):
        accounts.remove_member(us, alice.pk)
    with pytest.raises(AccountError, match="last owner"):
        accounts.change_role(us, alice.pk, Role.READER)
    accounts.change_role(us, bob.pk, Role.OWNER)
    accounts.remove_member(us, alice.pk)
    assert scope_of(alice_user) is None


def test_a_stranger_changes_nobody(alice_user: User, bob_user: User, charlie_user: User) -> None:
    bob = scope(alice_user).memberships().get(user=bob_user)
    for change in (
        lambda: accounts.change_role(scope(charlie_user), bob.pk, Role.READER),
        lambda: accounts.remove_member(scope(charlie_user), bob.pk),
        lambda: accounts.set_notify(scope(charlie_user), bob.pk, notify=False),
    ):
        with pytest.raises(Membership.DoesNotExist):
            change()


def test_everybody_decides_alone_whether_they_get_mail(
    alice_user: User, rita_user: User, bob_user: User
) -> None:
    rita = Membership.objects.get(user=rita_user)
    accounts.set_notify(scope(rita_user), rita.pk, notify=False)
    assert not Membership.objects.get(pk=rita.pk).notify
    with pytest.raises(Membership.DoesNotExist):
        accounts.set_notify(scope(bob_user), rita.pk, notify=True)
    accounts.set_notify(scope(alice_user), rita.pk, notify=True)
    assert Membership.objects.get(pk=rita.pk).notify
