"""Datagrams and log lines of one Postfix, put together, in any order that two ways can bring them."""

import random
from collections import Counter
from datetime import date
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.names import Domain
from mailward.core.postfix.smtplog import Entry, read_message
from mailward.core.tlsrpt.counting import Origin, Tally
from mailward.core.tlsrpt.joining import (
    MAX_PROCESSES,
    MAX_SEEN,
    MAX_SIGNALS,
    SETTLE_SECONDS,
    SIGNAL_SECONDS,
    Joiner,
    Kind,
    Session,
    Signal,
)
from mailward.core.tlsrpt.schema import Policy

START = 1_795_907_700.0
TLS = "Trusted TLS connection established to {mx}[{ip}]:25: TLSv1.3 with cipher X (256/256 bits)"
TLSRPT = "TLSRPT: status={status}, domain={domain}, receiving_mx={mx}[{ip}]"
SENT = "{id}: to=<{to}@{domain}>, relay={mx}[{ip}]:25, {use}delay=0.4, delays={delays}, dsn=2.0.0, status={status} (ok)"
REFUSED = "warning: MX name '{mx}' does not match STS MX pattern for '{domain}'"


def signal(domain: str, at: float, pid: int = 7, failures: int = 0) -> Signal:
    tally = Tally(date(2026, 11, 28), Domain(domain), "v", Policy(), Origin.DATAGRAM, 1 - failures, failures)
    return Signal(pid, at, tally)


class Log:
    """What one Postfix writes, given to a joiner at once."""

    def __init__(self, joiner: Joiner | None = None) -> None:
        self.joiner = joiner or Joiner()
        self.now = 100.0
        self.lines = 0
        self.line(TLS, at=-600.0)  # so the log shows TLS connections, and is known since then

    def line(
        self, text: str, at: float = 0.0, pid: int = 7, tag: str = "postfix/smtp", **values: str
    ) -> None:
        self.lines += 1
        defaults = {
            "domain": "a.test",
            "mx": "mx.a.test",
            "ip": "192.0.2.1",
            "id": "C3AF6186129",
            "to": "bob",
            "use": "",
            "delays": "0/0.01/0.2/0.1",
            "status": "success" if text is TLSRPT else "sent",
        }
        entry = read_message(f"{tag}[{pid}]: {text.format(**(defaults | values))}", START + at)
        assert entry is not None, text
        self.joiner.add_entry(entry, str(self.lines), self.now)

    def settle(self, seconds: float = SETTLE_SECONDS) -> list[Session]:
        self.now += seconds
        return self.joiner.settle(self.now)


def clear(at: float = 0.0, domain: str = "a.test", mx: str = "mx.a.test", ip: str = "192.0.2.1") -> Session:
    return Session(Kind.CLEAR, START + at, Domain(domain), mx, ip)


def test_a_success_learns_its_host_from_the_line_beside_it() -> None:
    log = Log()
    sent = signal("a.test", START + 0.3)
    log.joiner.add_signal(sent, log.now)
    log.line(TLS)
    log.line(TLSRPT)
    log.line(SENT)
    assert log.settle() == [Session(Kind.TLS, sent.at, Domain("a.test"), "mx.a.test", "192.0.2.1", sent)]


def test_a_signal_may_come_after_its_line() -> None:
    log = Log()
    log.line(TLS)
    log.line(TLSRPT)
    log.now += 3
    sent = signal("a.test", START + 0.3)
    log.joiner.add_signal(sent, log.now)
    assert [each.signal for each in log.settle()] == [sent]


def test_the_line_of_another_process_is_of_another_session() -> None:
    log = Log()
    log.joiner.add_signal(signal("a.test", START, pid=8), log.now)
    log.line(TLS, pid=7)
    log.line(TLSRPT, pid=7)
    assert log.settle() == []


def test_a_failure_that_was_reported_is_left_as_it_is() -> None:
    log = Log()
    log.joiner.add_signal(signal("a.test", START, failures=1), log.now)
    log.line(TLSRPT, status="failure")
    log.line(TLS)
    log.line(SENT)
    assert log.settle() == []


def test_mail_without_any_word_of_tls_went_in_the_clear() -> None:
    log = Log()
    log.line(SENT)
    assert log.settle() == [clear()]


def test_recipients_of_one_mail_are_one_session() -> None:
    log = Log()
    for to in ("bob", "alice", "carol"):
        log.line(SENT, to=to)
    log.line(
        SENT, to="dave", delays="0/0.3/0.2/0.1"
    )  # the next lot: handed over later, a connection of its own
    assert log.settle() == [clear(), clear()]


def test_mail_over_a_connection_that_served_before_is_no_session() -> None:
    log = Log()
    log.line(SENT, use="conn_use=2, ")
    assert log.settle() == []


@pytest.mark.parametrize("status", ["deferred", "bounced"])
def test_mail_that_was_not_taken_may_have_met_no_answer_at_all(status: str) -> None:
    log = Log()
    log.line(SENT, status=status)
    assert log.settle() == []


@pytest.mark.parametrize("status", ["deferred", "bounced"])
def test_mail_that_was_refused_in_the_clear_was_a_session_all_the_same(status: str) -> None:
    log = Log()
    refused = SENT.replace("(ok)", "(host {mx}[{ip}] said: 450 later (in reply to RCPT TO command))")
    log.line(refused, status=status)
    log.line(SENT, to="alice")  # of the same mail: taken over the same connection
    assert log.settle() == [clear()]


def test_tls_that_began_minutes_before_the_mail_was_taken_is_remembered() -> None:
    log = Log()
    log.line(TLS, at=-290.0)
    log.line(SENT, delays="0/0/1.5/289")
    assert log.settle() == []


def test_tls_with_another_host_is_no_tls_with_this_one() -> None:
    log = Log()
    log.joiner.add_signal(signal("a.test", START), log.now)
    log.line(TLS, ip="192.0.2.2", mx="mx2.a.test")
    log.line(TLSRPT, ip="192.0.2.2", mx="mx2.a.test")
    log.line(SENT, ip="192.0.2.2", mx="mx2.a.test")
    log.line(SENT, id="C3AF6186130", at=1.0)
    assert [(each.kind, each.host) for each in log.settle()] == [
        (Kind.TLS, "mx2.a.test"),
        (Kind.CLEAR, "mx.a.test"),
    ]


def test_a_handshake_that_failed_before_is_no_missing_starttls() -> None:
    log = Log()
    log.joiner.add_signal(signal("a.test", START, failures=1), log.now)
    log.line(TLSRPT, status="failure")
    log.line(SENT, at=1.0, delays="0/0/1.3/0.1")  # then Postfix came again without TLS
    assert log.settle() == []


def test_a_signal_whose_line_is_missing_is_a_word_of_tls() -> None:
    log = Log()
    log.joiner.add_signal(signal("a.test", START), log.now)
    log.line(SENT)
    assert log.settle() == []
    log.settle(SIGNAL_SECONDS)
    assert log.joiner.unjoined == 1


def test_a_log_that_does_not_show_tls_shows_nothing_in_the_clear() -> None:
    log = Log()
    log.joiner.add_signal(signal("a.test", START), log.now)
    log.line(TLSRPT)  # a success, and no line of its connection: smtp_tls_loglevel is 0
    log.line(SENT, id="C3AF6186130", domain="b.test", ip="192.0.2.5")
    assert [each.kind for each in log.settle()] == [Kind.TLS]
    assert log.joiner.unknown == 1


def test_a_log_that_has_not_shown_tls_yet_shows_nothing_in_the_clear() -> None:
    log = Log()
    log.line(SENT, tag="relay/smtp")
    assert log.settle() == []
    assert log.joiner.unknown == 1


def test_what_began_before_the_log_is_known_is_not_known() -> None:
    log = Log()
    log.joiner.forget_log()
    log.line(TLS, at=0.0, ip="192.0.2.9")
    log.line(SENT, at=1.0, delays="0/0/1/0.1")
    log.line(SENT, at=5.0, id="C3AF6186130")
    assert log.settle() == [clear(5.0)]


def test_what_is_read_again_is_no_session_and_still_tells_of_tls() -> None:
    joiner = Joiner()
    for text, place in ((TLS, None), (TLS, None), (SENT, None), (SENT, "4")):
        at = -600.0 if joiner.place is None and text is TLS else 0.0
        filled = text.format(
            mx="mx.a.test", ip="192.0.2.2", id="C3AF6186129", to="b", domain="a.test", use="",
            delays="0/0/0/0", status="sent",
        )  # fmt: skip
        entry = read_message(f"postfix/smtp[7]: {filled}", START + at)
        assert entry is not None
        joiner.add_entry(entry, place, 0.0)
    assert joiner.settle(SETTLE_SECONDS) == []
    assert joiner.place == "4"


def test_a_host_that_was_passed_over_is_one_session_for_each_mail() -> None:
    log = Log()
    for queue_id in ("C3AF6186129", "C3AF6186130"):
        log.line(REFUSED)
        log.line(REFUSED)  # its second address
        log.line(SENT, id=queue_id, status="deferred")
    outside = Session(Kind.OUTSIDE, START, Domain("a.test"), "mx.a.test", "")
    assert log.settle() == [outside, outside]


def test_reports_of_ours_are_not_reported_on() -> None:
    log = Log(Joiner(lambda sender: sender == "tls@reports.test"))
    log.line("{id}: from=<tls@reports.test>, size=292, nrcpt=1 (queue active)", tag="postfix/qmgr")
    log.line(SENT)
    log.line(SENT, id="C3AF6186130")
    assert log.settle() == [clear()]


def test_a_flood_of_signals_processes_and_hosts_is_bounded_and_makes_nothing_up() -> None:
    log = Log()
    for n in range(MAX_SIGNALS + 10):
        log.joiner.add_signal(signal(f"d{n}.test", START), log.now)
    for n in range(MAX_SEEN + 10):
        log.line(TLS, ip=str(ip_address(0x0A000000 + n)))
    log.line(SENT, ip="10.0.0.1", at=1.0)  # its TLS is among those that were forgotten
    for n in range(MAX_PROCESSES + 10):
        log.line(TLS, pid=1000 + n)
    log.line(SENT, pid=1000)  # and this process
    assert log.settle() == []
    assert log.joiner.unjoined >= 10


Step = tuple[str, str, str]
"""What a process does: how, the domain, the address."""
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["tls", "failed", "clear", "quiet tls"]),
        st.sampled_from(["a.test", "b.test"]),
        st.sampled_from(["192.0.2.1", "192.0.2.2"]),
    ),
    max_size=12,
)


def written(
    pid: int, steps: list[Step]
) -> tuple[list[tuple[float, str]], list[Signal], Counter[tuple[Kind, str]]]:
    """The lines and signals of a process, some seconds a step, and the sessions that it really had."""
    lines, signals = [], []
    had: Counter[tuple[Kind, str]] = Counter()
    for n, (how, domain, ip) in enumerate(steps):
        at = START + 6.0 * n
        values = {
            "domain": domain,
            "mx": "mx.test",
            "ip": ip,
            "to": "bob",
            "use": "",
            "delays": "0/0/0.1/0.1",
        }
        if how != "clear":
            failed = how == "failed"
            lines.append((at, TLS.format(**values)))
            if how != "quiet tls":  # a domain that asks for no reports
                signals.append(signal(domain, at, pid, int(failed)))
                lines.append((at, TLSRPT.format(status="failure" if failed else "success", **values)))
        lines.append((at, SENT.format(id=f"Q{pid:04}{n:04}", status="sent", **values)))
        if how in ("tls", "clear"):
            had[Kind(how), domain] += 1
    return lines, signals, had


@given(st.lists(STEPS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_however_the_two_ways_mix_every_session_is_found_once(
    processes: list[list[Step]], mix: random.Random
) -> None:
    log = Log()
    expected: Counter[tuple[Kind, str]] = Counter()
    queues: list[list[Entry | Signal]] = []
    for pid, steps in enumerate(processes, 10):
        lines, signals, had = written(pid, steps)
        entries = [read_message(f"postfix/smtp[{pid}]: {text}", at) for at, text in lines]
        queues += [[entry for entry in entries if entry], list(signals)]
        expected += had
    used: list[int] = []
    found: Counter[tuple[Kind, str]] = Counter()
    while queues := [queue for queue in queues if queue]:
        item = mix.choice(queues).pop(0)
        if isinstance(item, Signal):
            log.joiner.add_signal(item, log.now)
        else:
            log.joiner.add_entry(item, "x", log.now)
    for session in log.settle():
        found[session.kind, session.domain] += 1
        used += [id(session.signal)] if session.signal else []
    assert found == expected
    assert len(used) == len(set(used))


@given(STEPS, st.data())
def test_lost_signals_and_lost_words_of_tls_make_no_mail_clear_that_was_not(
    steps: list[Step], data: st.DataObject
) -> None:
    log = Log()
    lines, signals, had = written(10, steps)
    kept = data.draw(st.lists(st.booleans(), min_size=len(signals), max_size=len(signals)))
    for each, keep in zip(signals, kept, strict=True):
        if keep:
            log.joiner.add_signal(each, log.now)
    for at, text in lines:
        if "TLSRPT" not in text or data.draw(st.booleans()):
            entry = read_message(f"postfix/smtp[10]: {text}", at)
            assert entry is not None
            log.joiner.add_entry(entry, "x", log.now)
    found = Counter((each.kind, str(each.domain)) for each in log.settle())
    assert all(count <= had[key] for key, count in found.items())


def test_a_log_that_begins_while_it_is_watched_is_known_from_then() -> None:
    log = Log()
    log.joiner.forget_log()
    log.joiner.watch_from(START)
    log.line(TLS, at=3.0, ip="192.0.2.9")
    log.line(SENT, at=3.0)
    assert log.settle() == [clear(3.0)]
