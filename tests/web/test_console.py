from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.test import Client
from django.urls import reverse

from mailward.store.models import Domain
from mailward.web.asgi import application
from mailward.web.console import gather_static


def test_static_files_are_gathered_once(tmp_path: Path, settings: Any) -> None:
    settings.STATIC_ROOT = tmp_path
    assert gather_static(tmp_path)
    assert (tmp_path / "mailward" / "mailward.css").exists()
    assert not gather_static(tmp_path)


@pytest.mark.django_db(transaction=True)
async def test_a_page_is_served_to_a_person_over_asgi(alice: Client, domain: Domain) -> None:
    """Django keeps ASGI's scope where ours is: both must work at once."""
    status, body = await ask(reverse("domain-setup", args=[domain.name]), alice.cookies)
    assert status == 200
    assert domain.claim_token.encode() in body


@pytest.mark.django_db(transaction=True)
async def test_a_request_that_is_refused_before_anybody_is_known_gets_its_page_over_asgi(
    alice: Client,
) -> None:
    status, body = await ask("/login/", alice.cookies, host="mailward.example.org")
    assert status == 400
    assert b"<code>public_url</code>" in body


async def ask(path: str, cookies: SimpleCookie, host: str = "localhost") -> tuple[int, bytes]:
    cookie = f"{settings.SESSION_COOKIE_NAME}={cookies[settings.SESSION_COOKIE_NAME].value}"
    scope = {
        "type": "http", "method": "GET", "path": path, "scheme": "https", "query_string": b"",
        "headers": [(b"host", host.encode()), (b"cookie", cookie.encode())],
    }  # fmt: skip
    asked: Any = ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]  # asgiref's own
    await asked.send_input({"type": "http.request", "body": b""})
    start = await asked.receive_output(10)
    body, more = b"", True
    while more:
        part = await asked.receive_output(10)
        body, more = body + part.get("body", b""), part.get("more_body", False)
    await asked.wait(10)
    return start["status"], body
