"""A document at 80 columns; what strangers wrote cannot steer the terminal."""

import io
from datetime import datetime

import pytest
from rich.console import Console
from tests.render.reports import ATTACKS, DAY, USUAL, hostile

from mailward.core.tlsrpt.deviations import Deviation
from mailward.core.tlsrpt.document import build_document
from mailward.core.tlsrpt.schema import DateRange, Policy, PolicyResult, Report, Summary
from mailward.render.terminal import Overview, print_document

PRINTED = """\
CRITICAL 6 of 1,204 sessions failed: the certificate of mx2.example.com has
expired.

Google Inc. saw 1,204 sessions to example.com on 3 September 2024: 1,198
encrypted, 6 failed.
Contact    smtp-tls-reporting@google.com
Report-ID  2024-09-03T00:00:00Z_example.com

MTA-STS policy of example.com  mode: enforce
  1,204 sessions: 1,198 encrypted, 6 failed. 99.5 % encrypted.
  │ version: STSv1
  │ mode: enforce
  │ mx: *.example.com
  │ max_age: 604800

  CRITICAL Certificate expired: mx2.example.com
    mx2.example.com presents a certificate that is out of date. Senders that
    follow your policy do not deliver until it is renewed.
    The policy says mode: enforce: this mail was not delivered there. The sender
    tries again for days.
    Failed sessions  6
    Sent by          Google Inc. from 192.0.2.201 (6)
    Receiving MX     mx2.example.com, 198.51.100.58
    Result type      certificate-expired
    More             https://example.net/info?id=1&x=2
    What to do
    1. Read names and dates:
        openssl s_client -starttls smtp -connect mx2.example.com:25 \\
          -servername mx2.example.com </dev/null | openssl x509 -noout \\
          -subject -issuer -dates -ext subjectAltName
    2. Renew it (certbot: certbot renew), then reload the mail server: the old
       one often lives on in memory.
    3. Make renewal reload the server by itself (certbot: a script in
       /etc/letsencrypt/renewal-hooks/deploy/).
    4. Test every address of mx2.example.com, IPv6 too: often one server behind
       the name differs.
    Fault or attack? An attacker may replay an old certificate. If yours is in
    date at every address, treat it as that.
    RFC 8460 section 4.3.1; RFC 8461 section 4.2

How this report differs from RFC 8460
  notice Failures are counted, and none is described. RFC 8460 §4.4 ·
         failed-without-details
         policies[0]

"""


def to_text(report: Report, *deviations: Deviation, width: int = 80, colour: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=colour, color_system="truecolor" if colour else None
    )
    print_document(build_document(report, deviations), console)
    return file.getvalue()


def test_a_usual_report_at_80_columns() -> None:
    assert to_text(USUAL, Deviation("failed-without-details", "policies[0]")) == PRINTED


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = to_text(USUAL, width=width).splitlines()
    # a word of a command cannot be broken
    assert max(len(line) for line in lines if "openssl" not in line and "-servername" not in line) <= width


def test_colours_are_for_terminals_only() -> None:
    assert "\x1b" not in to_text(USUAL)
    assert "\x1b[1;31mCRITICAL" in to_text(USUAL, colour=True)


@pytest.mark.parametrize(("text", "why"), ATTACKS)
def test_r5_no_stranger_steers_the_terminal(text: str, why: str) -> None:
    printed = to_text(hostile(text), Deviation("count-negative", text, text))
    assert all(char.isprintable() or char == "\n" for char in printed), why
    printed.encode()


def test_what_would_steer_it_is_shown_by_number() -> None:
    printed = to_text(hostile("\x1b[2J\u202e"))
    assert "[U+001B][2J[U+202E]" in printed


def test_markup_of_the_library_is_text() -> None:
    assert "[bold red]x[/bold red]" in to_text(hostile("[bold red]x[/bold red]"), width=200)


def test_the_overview_has_a_line_for_each_report() -> None:
    file = io.StringIO()
    overview = Overview(Console(file=file, width=80))
    overview.print_head()
    overview.print_row(build_document(USUAL))
    overview.print_row(build_document(hostile("\x1b" * 100)))
    lines = file.getvalue().splitlines()
    assert lines[:2] == [
        "Day                  Reporter       About          Encrypted   Failed  State",
        "3 September 2024     Google Inc.    example.com        1,198        6  critical",
    ]
    assert len(lines) == 3
    assert len(lines[2]) <= 80


def test_the_overview_never_adds_up_policy_types() -> None:
    result = Summary(total_successful_session_count=95, total_failure_session_count=5)
    policies = tuple(
        PolicyResult(policy=Policy(policy_type=kind, policy_domain="example.com"), summary=result)
        for kind in ("sts", "tlsa")
    )
    file = io.StringIO()
    Overview(Console(file=file, width=80)).print_row(
        build_document(Report(date_range=DAY, policies=policies))
    )
    assert file.getvalue().split()[-3:] == ["95", "5", "warning"]


def test_the_overview_says_what_is_unknown() -> None:
    summary = Summary(total_successful_session_count=1)
    policy = PolicyResult(policy=Policy(policy_type="sts", policy_domain="example.com"), summary=summary)
    file = io.StringIO()
    Overview(Console(file=file, width=80)).print_row(
        build_document(Report(date_range=DAY, policies=(policy,)))
    )
    assert file.getvalue().split()[-3:] == ["1", "?", "unknown"]


@pytest.mark.parametrize(
    ("end", "day"),
    [("2024-09-04T00:00:00Z", "3 September 2024"), ("2024-10-01T00:00:00Z", "3 September 2024 +")],
)
def test_the_overview_names_the_first_day(end: str, day: str) -> None:
    period = DateRange(start_datetime=DAY.start_datetime, end_datetime=datetime.fromisoformat(end))
    file = io.StringIO()
    Overview(Console(file=file, width=90)).print_row(build_document(Report(date_range=period)))
    assert file.getvalue()[:19].rstrip() == day
