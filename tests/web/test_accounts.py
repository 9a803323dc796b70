import re
from datetime import timedelta
from email import message_from_bytes, policy

import pytest
from django.test import Client
from django.urls import reverse
from tests.fakes.relay import FakeRelay
from tests.web.pages import with_settings

from mailward.config import Relay
from mailward.net import clock
from mailward.store.models import Membership, Organisation, Role, User
from mailward.store.scope import scope_of
from mailward.store.services import accounts

PASSWORD = "a long enough secret"


@pytest.mark.django_db
def test_the_first_administrator_comes_in_by_the_link() -> None:
    client, token = Client(), accounts.first_administrator_link()
    address = reverse("start", args=[token])
    assert client.get(address).status_code == 200
    answer = client.post(
        address,
        {"name": "Ada", "email": "ADA@example.test", "organisation_name": "Engines", "password": PASSWORD},
        follow=True,
    )
    assert answer.redirect_chain[-1][0] == reverse("domain-list")
    assert b"Welcome" in answer.content
    assert User.objects.get().email == "ada@example.test"
    assert Client().get(address).status_code == 404


@pytest.mark.django_db
def test_before_anybody_has_an_account_the_login_says_where_the_link_is() -> None:
    assert b"Nobody has an account yet" in Client().get(reverse("account_login")).content


@pytest.mark.django_db
def test_a_weak_password_is_told_beside_its_field() -> None:
    address = reverse("start", args=[accounts.first_administrator_link()])
    answer = Client().post(
        address, {"name": "Ada", "email": "a@b.test", "organisation_name": "E", "password": "short"}
    )
    assert b'id="id_password_error"' in answer.content
    assert not User.objects.exists()


@pytest.mark.django_db
def test_a_made_up_link_says_that_it_no_longer_works() -> None:
    answer = Client().get(reverse("start", args=["made-up"]))
    assert answer.status_code == 404
    assert b"no longer works" in answer.content


def test_a_person_signs_in_and_out(alice_user: User) -> None:
    client = Client()
    wrong = client.post(reverse("account_login"), {"login": alice_user.email, "password": "wrong"})
    assert b"errorlist" in wrong.content
    right = client.post(
        reverse("account_login"), {"login": "ALICE@alice.test", "password": "alice-has-a-password"}
    )
    assert right.headers["Location"] == "/"
    client.post(reverse("account_logout"))
    assert client.get(reverse("domain-list")).status_code == 302


def test_a_person_changes_their_password(alice: Client, alice_user: User) -> None:
    answer = alice.post(
        reverse("account_change_password"),
        {"oldpassword": "alice-has-a-password", "password1": PASSWORD, "password2": PASSWORD},
    )
    assert answer.status_code == 302
    alice_user.refresh_from_db()
    assert alice_user.check_password(PASSWORD)


@pytest.mark.django_db
def test_a_forgotten_password_is_no_promise_without_a_relay() -> None:
    assert Client().get(reverse("account_reset_password")).status_code == 404
    assert b"Forgot your password? Ask an owner" in Client().get(reverse("account_login")).content


def test_a_forgotten_password_is_set_anew_through_a_mail(alice_user: User) -> None:
    client = Client()
    with FakeRelay() as relay, with_settings(relay=relay.settings):
        answer = client.post(reverse("account_reset_password"), {"email": alice_user.email}, follow=True)
        assert b"Look at your mail" in answer.content
        (sent,) = relay.mails
        assert sent.recipients == (alice_user.email,)
        message = message_from_bytes(sent.content, policy=policy.default)
        assert message["Subject"] == "Mailward: a new password"
        assert message["Auto-Submitted"] == "auto-generated"
        (link,) = re.findall(r"http://127\.0\.0\.1:8000(/\S+)", str(message.get_content()))
        form = client.get(link, follow=True)
        client.post(form.redirect_chain[-1][0], {"password1": PASSWORD, "password2": PASSWORD})
    alice_user.refresh_from_db()
    assert alice_user.check_password(PASSWORD)


@pytest.mark.django_db
def test_nobody_learns_by_a_forgotten_password_who_has_an_account() -> None:
    with FakeRelay() as relay, with_settings(relay=relay.settings):
        answer = Client().post(
            reverse("account_reset_password"), {"email": "nobody@example.test"}, follow=True
        )
    assert b"Look at your mail" in answer.content
    assert relay.mails == []


def test_nobody_learns_it_by_a_relay_that_is_away(
    alice: Client, alice_user: User, caplog: pytest.LogCaptureFixture
) -> None:
    with with_settings(relay=Relay(host="127.0.0.1", port=1, security="none")):
        answer = Client().post(reverse("account_reset_password"), {"email": alice_user.email}, follow=True)
        assert answer.status_code == 200
        assert b"Look at your mail" in answer.content
        assert b"No mail relay works" in alice.get(reverse("people")).content
    assert "password-mail-not-sent" in caplog.messages
    assert not any("/password/reset/" in str(vars(record)) for record in caplog.records)


def test_an_invited_person_comes_in_with_the_role_they_were_given(alice: Client) -> None:
    answer = alice.post(reverse("people-invite"), {"email": "rob@new.test", "role": "reader"})
    (link,) = re.findall(r"http://127\.0\.0\.1:8000(/join/[^<]+)", answer.content.decode())
    rob = Client()
    rob.post(link, {"name": "Rob", "password": PASSWORD})
    assert rob.get(reverse("domain-list")).status_code == 200
    assert Membership.objects.get(user__email="rob@new.test").role == Role.READER


def test_an_invitation_is_mailed_where_mail_can_be_sent(
    alice: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeRelay() as relay, with_settings(relay=relay.settings), caplog.at_level("INFO"):
        form = alice.get(reverse("people")).content.decode()
        assert re.search(r'<input type="checkbox" name="mail"[^>]* checked', form)
        page = alice.post(
            reverse("people-invite"), {"email": "rob@new.test", "role": "administrator", "mail": "on"}
        ).content.decode()
    (mail_sent,) = relay.mails
    (link,) = re.findall(r"http://127\.0\.0\.1:8000/join/[^<]+", page)
    assert "took a mail with this link" in page
    assert mail_sent.recipients == ("rob@new.test",)
    text = str(message_from_bytes(mail_sent.content, policy=policy.default).get_content())
    assert link in text.splitlines()
    assert "Alice invites you to Example Ltd on Mailward, as administrator." in " ".join(text.split())
    told = [str(vars(record)) for record in caplog.records]
    assert any("mail-sent" in each for each in told)
    assert not any(link.rsplit("/", 2)[1] in each for each in told), "a token is no matter for logs"


def test_an_invitation_is_not_mailed_unasked(alice: Client) -> None:
    with FakeRelay() as relay, with_settings(relay=relay.settings):
        page = alice.post(reverse("people-invite"), {"email": "rob@new.test", "role": "reader"}).content
    assert relay.mails == []
    assert b"Give them this link" in page


def test_an_address_that_the_relay_refuses_is_told_and_the_link_still_works(alice: Client) -> None:
    with FakeRelay(refuse_recipient="rob@new.test") as relay, with_settings(relay=relay.settings):
        page = alice.post(
            reverse("people-invite"), {"email": "rob@new.test", "role": "reader", "mail": "on"}
        ).content.decode()
        assert b"No mail relay works" not in alice.get(reverse("people")).content
    assert "could not be mailed: rob@new.test: 550" in page
    (link,) = re.findall(r"http://127\.0\.0\.1:8000(/join/[^<]+)", page)
    assert Client().get(link).status_code == 200


def test_a_relay_that_is_away_is_told_beside_the_link(alice: Client) -> None:
    with with_settings(relay=Relay(host="127.0.0.1", port=1, security="none")):
        page = alice.post(
            reverse("people-invite"), {"email": "rob@new.test", "role": "reader", "mail": "on"}
        ).content
        assert b"The link could not be mailed" in page
        assert b"/join/" in page
        assert b"No mail relay works" in alice.get(reverse("people")).content


def test_without_a_relay_no_mail_is_offered(alice: Client) -> None:
    assert b'name="mail"' not in alice.get(reverse("people")).content


def test_a_person_with_an_account_joins_once_signed_in(alice_user: User, charlie_user: User) -> None:
    ours = scope_of(alice_user)
    assert ours is not None
    link = reverse("join", args=[accounts.invite(ours, charlie_user.email, Role.READER)])
    client = Client()
    assert b"Sign in with it" in client.get(link).content
    client.force_login(charlie_user)
    client.post(link)
    assert client.get(reverse("people")).context["organisation"].name == "Example Ltd"


def test_the_last_owner_stays(alice: Client, alice_user: User) -> None:
    membership = Membership.objects.get(user=alice_user)
    answer = alice.post(reverse("people-remove", args=[membership.pk]), follow=True)
    assert b"last owner" in answer.content
    assert Membership.objects.filter(user=alice_user).exists()


def test_who_is_removed_sees_nothing_any_more(alice: Client, bob: Client, bob_user: User) -> None:
    alice.post(reverse("people-remove", args=[Membership.objects.get(user=bob_user).pk]))
    answer = bob.get(reverse("domain-list"))
    assert answer.status_code == 403
    assert b"You belong to no organisation" in answer.content


def test_a_banner_says_that_nobody_is_told(alice: Client) -> None:
    assert b"No mail relay works" in alice.get(reverse("people")).content
    with with_settings(relay=Relay(host="mail.example.test")):
        assert b"No mail relay works" not in alice.get(reverse("people")).content


def test_a_test_mail_without_a_relay_says_why_it_is_not_sent(alice: Client) -> None:
    answer = alice.post(reverse("notify-test"), follow=True)
    assert b"no mail relay is configured" in answer.content


def test_a_test_mail_to_a_relay_that_is_away_says_so(alice: Client) -> None:
    with with_settings(relay=Relay(host="127.0.0.1", port=1, security="none")):
        answer = alice.post(reverse("notify-test"), follow=True)
        assert b"could not be sent" in answer.content
        assert b"No mail relay works" in answer.content


def test_an_owner_hands_over_a_link_for_a_forgotten_password(alice: Client, bob_user: User) -> None:
    membership = Membership.objects.get(user=bob_user)
    page = alice.post(reverse("people-password", args=[membership.pk])).content.decode()
    (link,) = re.findall(r"http://127\.0\.0\.1:8000(/password/[^<]+)", page)
    bob = Client()
    form = bob.get(link, follow=True)
    bob.post(form.redirect_chain[-1][0], {"password1": PASSWORD, "password2": PASSWORD})
    bob_user.refresh_from_db()
    assert bob_user.check_password(PASSWORD)


def test_a_link_for_a_password_is_no_way_into_another_organisation(
    alice: Client, charlie_user: User, organisation: Organisation
) -> None:
    membership = Membership.objects.create(organisation=organisation, user=charlie_user, role=Role.READER)
    answer = alice.post(reverse("people-password", args=[membership.pk]), follow=True)
    assert b"/password/reset/" not in answer.content
    assert b"another organisation too" in answer.content


def test_a_link_for_a_password_ends_when_its_owner_joins_another_organisation(
    alice: Client, bob: Client, bob_user: User, charlie_user: User
) -> None:
    User.objects.filter(pk=bob_user.pk).update(last_login=clock.now() - timedelta(hours=1))
    membership = Membership.objects.get(user=bob_user)
    page = alice.post(reverse("people-password", args=[membership.pk])).content.decode()
    (link,) = re.findall(r"http://127\.0\.0\.1:8000(/password/[^<]+)", page)
    theirs = scope_of(charlie_user)
    assert theirs is not None
    bob.post(reverse("join", args=[accounts.invite(theirs, bob_user.email, Role.OWNER)]))
    assert Membership.objects.filter(user=bob_user).count() == 2
    assert b'name="password1"' not in Client().get(link, follow=True).content
