"""Authentication-Results (RFC 8601) of a relay of ours vouch; anybody else's do not."""

import pytest
from tests.fakes.signer import google_mail, report_json

from mailward.core.dkim import vouched_domain

MAIL = google_mail(report_json())


def vouched(*fields: str) -> str | None:
    return vouched_domain("".join(f"{field}\r\n" for field in fields).encode() + MAIL, ["mx.example.test"])


OURS = "Authentication-Results: mx.example.test; dkim=pass header.d=google.test"


@pytest.mark.parametrize(
    "field",
    [
        OURS,
        "authentication-results:\tMX.example.test 1;\r\n\tspf=pass; dkim=pass header.d=google.test",
        "Authentication-Results: mx.example.test; dkim=pass (2048; x) header.i=@google.test header.s=s",
        "Authentication-Results: mx.example.test; dkim=fail header.d=a.b; dkim = pass header.d = google.test",
        'Authentication-Results: "mx.example.test"; dkim=pass header.d="google.test"',
    ],
)
def test_a_relay_of_ours_vouches(field: str) -> None:
    assert vouched(field) == "google.test"


@pytest.mark.parametrize(
    "fields, reason",
    [
        ((), "nobody said anything"),
        (("Authentication-Results: evil.test; dkim=pass header.d=google.test",), "not configured"),
        (("Authentication-Results: mx.example.test; dkim=fail header.d=google.test",), "failed"),
        (("Authentication-Results: mx.example.test; dkim=pass header.d=evil.test",), "not aligned with From"),
        (("Authentication-Results: mx.example.test; spf=pass",), "says nothing of DKIM"),
        (("Authentication-Results: mx.example.test; none",), "says nothing"),
        (("Authentication-Results: mx.example.test",), "says nothing at all"),
        (("Authentication-Results: evil.test; none", OURS), "ours is not on top: it came from outside"),
        (
            ("Authentication-Results: mx.example.test; x=y (; dkim=pass header.d=google.test)",),
            "inside a comment",
        ),
        (
            ('Authentication-Results: mx.example.test; x=y reason="; dkim=pass header.d=google.test"',),
            "inside a quoted string",
        ),
        (
            ("Authentication-Results: evil.test (mx.example.test); dkim=pass header.d=google.test",),
            "our name is in a comment",
        ),
        (("X-Authentication-Results: mx.example.test; dkim=pass header.d=google.test",), "another field"),
        (
            # i= of a signature may hold comments and "=" (RFC 6376 §3.5), and some relays repeat it as it came
            (f"{OURS.replace('google', 'evil')} header.i=header.d=google.test(x)@evil.test",),
            "a property inside of another's value",
        ),
        (
            (f"{OURS.replace('pass', 'fail')} header.i=dkim=pass(x)@google.test",),
            "a result inside of a property's value",
        ),
        (
            ("Authentication-Results: mx.example.test; dkim=pass header.d=evil.test header.d=google.test",),
            "a property twice: the second may be a stranger's",
        ),
        (
            ("Authentication-Results: mx.example.test; dkim=pass x header.d=google.test dkim=pass",),
            "no list of properties",
        ),
        (
            ("Authentication-Results: mx.example.test; spf=pass dkim=pass header.d=google.test",),
            "of another method",
        ),
        (
            ("Authentication-Results: mx.example.test; dkim=pass (header.d=evil.test; header.d=google.test",),
            "a comment without an end",
        ),
    ],
)
def test_everything_else_is_ignored(fields: tuple[str, ...], reason: str) -> None:
    assert vouched(*fields) is None, reason
