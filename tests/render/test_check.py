"""A check's report in a terminal."""

from tests.core.check.made import MX, facts, host, session, tls

from mailward.core.check.run import run
from mailward.render.check import WIDTH, render_line, render_report

EXPIRED = run(facts(hosts=(host(session(tls=tls("expired", 10))),)))


def test_the_verdict_comes_before_the_findings_and_these_before_what_was_seen() -> None:
    text = render_report(EXPIRED)
    places = [text.index(words) for words in ("* Senders that enforce", "Grade", "CRITICAL", "Seen:")]
    assert places == sorted(places)


def test_commands_can_be_copied() -> None:
    lines = render_report(EXPIRED).splitlines()
    [command] = [line for line in lines if "openssl s_client" in line]
    assert command.endswith("openssl x509 -noout -subject -issuer -dates -ext subjectAltName")


def test_prose_fits_a_terminal() -> None:
    lines = render_report(EXPIRED, details=False).splitlines()
    assert all(len(line) <= WIDTH for line in lines if "openssl" not in line)


def test_one_line_has_everything_that_weighs() -> None:
    assert render_line(EXPIRED, "CRITICAL") == (
        f"CRITICAL example.test: certificate-expired ({MX}). "
        "Senders that enforce MTA-STS do not deliver to you: mail waits, and bounces after days."
    )


def test_without_details_nothing_of_what_was_seen_is_listed() -> None:
    assert "Seen:" not in render_report(EXPIRED, details=False)
