from allauth.account import views as allauth
from django.urls import URLPattern, URLResolver, path, re_path

from mailward.web.pages.accounts import organisations, people, start
from mailward.web.pages.accounts.reset import needs_relay

urlpatterns: list[URLPattern | URLResolver] = [
    path("login/", allauth.login, name="account_login"),
    path("logout/", allauth.logout, name="account_logout"),
    path("account/inactive/", allauth.account_inactive, name="account_inactive"),
    path("account/password/", allauth.password_change, name="account_change_password"),
    path("password/reset/", needs_relay(allauth.password_reset), name="account_reset_password"),
    path(
        "password/reset/sent/", needs_relay(allauth.password_reset_done), name="account_reset_password_done"
    ),
    re_path(
        r"^password/reset/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        allauth.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "password/reset/done/",
        allauth.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("start/<str:token>/", start.start, name="start"),
    path("join/<str:token>/", start.join, name="join"),
    path("organisations/<int:organisation_id>/", organisations.choose, name="organisation-choose"),
    path("people/", people.people, name="people"),
    path("people/invite/", people.invite, name="people-invite"),
    path("people/organisation/", people.rename, name="people-rename"),
    path("people/test-mail/", people.test_mail, name="notify-test"),
    path("people/<int:membership_id>/role/", people.change_role, name="people-role"),
    path("people/<int:membership_id>/remove/", people.remove, name="people-remove"),
    path("people/<int:membership_id>/password/", people.new_password, name="people-password"),
    path("people/<int:membership_id>/notify/", people.set_notify, name="people-notify"),
    path("people/invitations/<int:invitation_id>/withdraw/", people.withdraw, name="people-withdraw"),
]
