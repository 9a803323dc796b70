"""A check's report in a terminal."""

import re

import pytest
from tests.core.check.made import MX, facts, host, session, tls

from mailward.core.check.run import run
from mailward.render.check import render_line, render_report
from mailward.render.paper import WIDTH, Paper, Style

EXPIRED = run(facts(hosts=(host(session(tls=tls("expired", 10))),)))


def test_the_verdict_comes_before_the_findings_and_these_before_what_was_seen() -> None:
    text = render_report(EXPIRED)
    places = [text.index(words) for words in ("* Senders that enforce", "Grade", "CRITICAL", "Seen:")]
    assert places == sorted(places)


def test_commands_can_be_copied() -> None:
    lines = render_report(EXPIRED).splitlines()
    [command] = [line for line in lines if "openssl s_client" in line]
    assert command.endswith("openssl x509 -noout -subject -issuer -dates -ext subjectAltName")


@pytest.mark.parametrize("width", [60, 80, WIDTH, 120])
def test_prose_fits_a_terminal(width: int) -> None:
    lines = render_report(EXPIRED, details=False, width=width).splitlines()
    assert all(len(line) <= width for line in lines if "openssl" not in line)


def test_colours_are_only_added() -> None:
    coloured = render_report(EXPIRED, with_colours=True)
    assert "\x1b[1;31m  CRITICAL\x1b[0m  Certificate expired" in coloured
    assert "\x1b[1;31m  *\x1b[0m Senders that enforce MTA-STS do not deliver" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render_report(EXPIRED)


def test_a_stranger_cannot_end_a_colour() -> None:
    paper = Paper(with_colours=True)
    paper.line("a\x1b[0mb", Style.BAD)
    assert str(paper).count("\x1b") == 2


def test_the_grade_is_a_sum() -> None:
    assert "  Grade C: 100 - 40 certificate-expired = 60\n" in render_report(EXPIRED)


def test_one_line_has_everything_that_weighs() -> None:
    assert render_line(EXPIRED, "CRITICAL") == (
        f"CRITICAL example.test: certificate-expired ({MX}). "
        "Senders that enforce MTA-STS do not deliver to you: mail waits, and bounces after days."
    )


def test_without_details_nothing_of_what_was_seen_is_listed() -> None:
    assert "Seen:" not in render_report(EXPIRED, details=False)
