"""The console behind a front: who is counted as the client."""

from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref.testing import ApplicationCommunicator

from mailward.store.models import User
from mailward.web.asgi import application
from mailward.web.fronted import Fronted

FRONT, ELSEWHERE = "192.0.2.80", "198.51.100.66"
FAILURES = 10
"""allauth's, a minute, of one address."""
LIMITED = b"Too many attempts failed"
CSRF = "c" * 32

pytestmark = pytest.mark.django_db(transaction=True)


async def log_in(
    email: str, *, peer: str, forwarded: list[str], password: str = "wrong"
) -> tuple[int, bytes]:
    body = urlencode({"login": email, "password": password, "csrfmiddlewaretoken": CSRF}).encode()
    headers = [
        (b"host", b"localhost"),
        (b"cookie", b"csrftoken=" + CSRF.encode()),
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-length", str(len(body)).encode()),
        *((b"x-forwarded-for", each.encode()) for each in forwarded),
    ]
    scope = {
        "type": "http", "method": "POST", "path": "/login/", "scheme": "http", "query_string": b"",
        "client": (peer, 40_000), "headers": headers,
    }  # fmt: skip
    asked: Any = ApplicationCommunicator(Fronted(application, [FRONT]), scope)  # type: ignore[no-untyped-call]
    await asked.send_input({"type": "http.request", "body": body})
    start, answer, more = await asked.receive_output(20), b"", True
    while more:
        part = await asked.receive_output(20)
        answer, more = answer + part.get("body", b""), part.get("more_body", False)
    await asked.wait(20)
    return start["status"], answer


async def test_two_clients_behind_one_front_do_not_share_the_login_limit(alice_user: User) -> None:
    for number in range(FAILURES):
        await log_in(f"{number}@guess.test", peer=FRONT, forwarded=["203.0.113.7"])
    _, answer = await log_in("last@guess.test", peer=FRONT, forwarded=["203.0.113.7"])
    assert LIMITED in answer
    right = "alice-has-a-password"
    status, _ = await log_in(alice_user.email, peer=FRONT, forwarded=["203.0.113.8"], password=right)
    assert status == 302


async def guess(peers: list[str]) -> bytes:
    """What the last of them is answered."""
    for number, peer in enumerate(peers):
        _, answer = await log_in(f"{number}@guess.test", peer=peer, forwarded=[])
    return answer


async def test_an_ipv6_network_of_64_bits_is_one_guest_and_the_next_is_another() -> None:
    first = [f"2001:db8:0:1:{number:x}::1" for number in range(FAILURES)]
    assert LIMITED not in await guess(first)
    assert LIMITED in await guess(["2001:db8:0:1:ffff::1"])
    assert LIMITED not in await guess(["2001:db8:0:2::1"])


async def test_mapped_addresses_of_ipv4_are_many_guests_and_a_links_own_has_no_interface() -> None:
    assert LIMITED not in await guess([f"::ffff:203.0.113.{number}" for number in range(FAILURES + 1)])
    assert LIMITED in await guess([*["203.0.113.99"] * FAILURES, "::ffff:203.0.113.99"])
    assert LIMITED in await guess(["fe80::1%eth0"] * (FAILURES + 1))


@pytest.mark.parametrize(
    "peer, forwarded",
    [
        (ELSEWHERE, ["203.0.113.{}"]),  # it is no front
        (FRONT, ["203.0.113.{}, 203.0.113.99"]),  # the front adds its own word behind
        (FRONT, ["203.0.113.{}", "203.0.113.99"]),  # in a line of its own, as HAProxy does
        (FRONT, [f"203.0.113.{{}}, 203.0.113.99, {FRONT}"]),  # two fronts
        (FRONT, ["203.0.113.{}, no address"]),  # a front that says nothing of use
    ],
)
async def test_who_makes_up_addresses_does_not_get_around_the_limit(peer: str, forwarded: list[str]) -> None:
    for number in range(FAILURES):
        told = [each.format(number) for each in forwarded]
        _, answer = await log_in(f"{number}@guess.test", peer=peer, forwarded=told)
        assert LIMITED not in answer
    told = [each.format(200) for each in forwarded]
    _, answer = await log_in("last@guess.test", peer=peer, forwarded=told)
    assert LIMITED in answer
