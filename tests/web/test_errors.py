"""Pages that say no, or that something broke."""

import logging

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse
from django.views.defaults import server_error
from tests.databases import held_writes
from tests.settings import IS_POSTGRESQL

from mailward.net.log import LineFormatter
from mailward.store.models import Organisation


def test_a_refusal_is_one_line_in_the_log(rita: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer = rita.get(reverse("domain-add"))
    assert answer.status_code == 403
    assert "with the role Reader" in answer.content.decode()
    assert [record.exc_info for record in caplog.records] == [None]


@pytest.mark.django_db
def test_an_unknown_name_of_the_console_says_which_setting_is_missing() -> None:
    answer = Client(headers={"host": "mailward.example.org"}).get("/login/")
    assert answer.status_code == 400
    assert "<code>public_url</code>" in answer.content.decode()
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


def test_the_page_for_what_broke_needs_neither_person_nor_database() -> None:
    page = server_error(RequestFactory().get("/")).content.decode()
    assert "Something broke on our side" in page
    assert "mailward.css" in page


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_is_busy_and_not_broken(alice: Client, organisation: Organisation) -> None:
    alice.raise_request_exception = False
    address, names = reverse("people-rename"), {"name": "Renamed"}
    if not IS_POSTGRESQL:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 50")
    with held_writes():
        answer = alice.post(address, names)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "Nothing was changed" in answer.content.decode()
    assert alice.post(address, names).status_code == 302
    organisation.refresh_from_db()
    assert organisation.name == "Renamed"


def test_a_view_that_breaks_shows_that_page(alice: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("provoked")

    monkeypatch.setattr("mailward.web.pages.domains.listing.list_domains", broken)
    alice.raise_request_exception = False
    answer = alice.get(reverse("domain-list"))
    assert answer.status_code == 500
    assert "Nothing you entered was half saved" in answer.content.decode()
    assert "provoked" not in answer.content.decode()


@pytest.mark.parametrize(
    "path",
    ["/join/{}/", "/join/{}/)", "/start/{}/", "/veto/{}/", "/password/reset/1-{}/"],
)
@pytest.mark.django_db
def test_a_link_that_lets_somebody_in_is_not_logged(path: str, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(enforce_csrf_checks=True)
    with caplog.at_level(logging.WARNING):
        for ask in (client.get, client.post):
            ask(path.format("s3cret-of-a-link"))
    (*_, record) = caplog.records
    line = LineFormatter("console").format(record)
    assert "s3cret" not in caplog.text + line
    assert path.partition("{")[0].rpartition("/")[0] in line
