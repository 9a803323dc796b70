"""Servers as they are, and as they would be to harm who looks at them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.smtp.opening import MAX_REPLY_LINE, MAX_REPLY_LINES, Opening, Reason, Step

EHLO = b"250-mx.test\r\n250-SIZE 1000\r\n250 starttls\r\n"


def play(*answers: bytes) -> tuple[Opening, list[bytes]]:
    """The look, and what was sent after each answer."""
    opening = Opening("probe.test")
    sent = []
    for answer in answers:
        opening.receive(answer)
        sent.append(opening.outgoing())
    return opening, sent


def test_a_server_that_offers_tls() -> None:
    opening, sent = play(b"220-mx.test\r\n220 hello\r\n", EHLO, b"220 go ahead\r\n")
    assert sent == [b"EHLO probe.test\r\n", b"STARTTLS\r\n", b""]
    assert (opening.step, opening.extensions) == (Step.HANDSHAKE, ("SIZE 1000", "starttls"))
    opening.leave()
    assert opening.outgoing() == b"QUIT\r\n"


CASES = [
    ((b"220 x\r\n", b"250 mx.test\r\n"), Reason.NOT_OFFERED, b"QUIT\r\n"),
    ((b"220 x\r\n", b"250 mx.test STARTTLS\r\n"), Reason.NOT_OFFERED, b"QUIT\r\n"),  # that is its name
    ((b"220 x\r\n", EHLO, b"454 no\r\n"), Reason.REFUSED, b"QUIT\r\n"),
    ((b"220 x\r\n", EHLO, b"250 ok\r\n"), Reason.REFUSED, b"QUIT\r\n"),
    ((b"554 go away\r\n",), Reason.TURNED_AWAY, b"QUIT\r\n"),
    ((b"220 x\r\n", b"421 busy\r\n"), Reason.TURNED_AWAY, b"QUIT\r\n"),
    ((b"220 x\r\n", b""), Reason.TURNED_AWAY, b"QUIT\r\n"),
    ((b"SSH-2.0-x\r\n",), Reason.BROKEN, b""),
    ((b"x" * (MAX_REPLY_LINE + 1),), Reason.BROKEN, b""),
    ((b"220-x\r\n" * (MAX_REPLY_LINES + 1),), Reason.BROKEN, b""),
    # RFC 3207 §4.2: what an attacker puts behind the answer would seem to have come over TLS
    ((b"220 x\r\n", EHLO, b"220 go\r\n250 STARTTLS\r\n"), Reason.BROKEN, b""),
    ((b"220 x\r\n", EHLO, b"220 go\r\n", b"250 x\r\n"), Reason.BROKEN, b""),
]


@pytest.mark.parametrize(("answers", "reason", "last"), CASES)
def test_servers_that_do_not(answers: tuple[bytes, ...], reason: Reason, last: bytes) -> None:
    opening, sent = play(*answers)
    assert (opening.step, opening.reason, sent[-1]) == (Step.CLOSING, reason, last)


@pytest.mark.parametrize("name", ["", "a b", "x\r\nQUIT", "-x", "[1.2.3.4", "ü.test"])
def test_a_name_that_would_be_another_command(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        Opening(name)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_whatever_comes_only_our_commands_are_sent(answers: list[bytes]) -> None:
    opening, sent = play(*answers)
    assert b"".join(sent) in (
        b"",
        b"QUIT\r\n",
        b"EHLO probe.test\r\n",
        b"EHLO probe.test\r\nQUIT\r\n",
        b"EHLO probe.test\r\nSTARTTLS\r\n",
        b"EHLO probe.test\r\nSTARTTLS\r\nQUIT\r\n",
    )
    assert all(0x20 <= ord(char) < 0x7F for char in opening.text)


@given(st.binary(min_size=1, max_size=80), st.integers(1, 5))
def test_how_the_bytes_are_cut_changes_nothing(tail: bytes, size: int) -> None:
    stream = b"220 x\r\n" + EHLO + tail
    whole, _ = play(stream)
    cut, _ = play(*(stream[at : at + size] for at in range(0, len(stream), size)))
    assert (cut.reason, cut.extensions) == (whole.reason, whole.extensions)


def over_tls(answer: bytes) -> tuple[Opening, bytes]:
    """A look that went on after the handshake, and what it says to the second answer."""
    opening, _ = play(b"220 x\r\n", EHLO, b"220 go ahead\r\n")
    opening.go_on_in_tls()
    assert opening.outgoing() == b"EHLO probe.test\r\n"
    opening.receive(answer)
    return opening, opening.outgoing()


def test_what_is_offered_over_tls_is_asked_anew() -> None:
    opening, said = over_tls(b"250-mx.test\r\n250 REQUIRETLS\r\n")
    assert (opening.extensions_in_tls, said, opening.step) == (("REQUIRETLS",), b"QUIT\r\n", Step.CLOSING)


@pytest.mark.parametrize("answer", [b"", b"\x00\xff\r\n", b"421 busy\r\n", b"x" * (MAX_REPLY_LINE + 1)])
def test_what_goes_wrong_over_tls_takes_nothing_back(answer: bytes) -> None:
    opening, _ = over_tls(answer)
    assert (opening.step, opening.reason, opening.extensions_in_tls) == (Step.CLOSING, None, ())
    assert opening.offers_starttls
