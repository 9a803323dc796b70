"""The attacker, between a sender and a receiver that are sockets of this test."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import pytest

from mailward.lab.attacker import Forgery, Hold, Log, Peer, Session, forge
from mailward.lab.certs import Authority
from mailward.lab.scenarios import Grip

CAPABILITIES = [b"250-mx.starttls.test\r\n", b"250-STARTTLS\r\n", b"250 SIZE 1000\r\n"]
MAIL = [b"Subject: Hello\r\n", b"\r\n", b"..dots\r\n"]


class Ends:
    """What the sender and the receiver say themselves."""

    def __init__(self, sender: socket.socket, receiver: socket.socket, folder: Path) -> None:
        self.sender, self.receiver, self.folder = Peer(sender), Peer(receiver), folder
        self._sockets = sender, receiver
        self.is_over = False
        """Nobody says goodbye any more."""

    def ask(self, line: bytes, *reply: bytes) -> list[bytes]:
        """The sender says a line, the receiver hears it and replies; what comes back."""
        self.sender.send(line)
        assert self.receiver.line() == line
        self.receiver.send(*reply)
        return self.sender.reply()

    def hang_up(self) -> None:
        self.is_over = True
        for each in self._sockets:
            each.shutdown(socket.SHUT_WR)

    @property
    def events(self) -> str:
        return (self.folder / "events").read_text()

    @property
    def stolen(self) -> list[bytes]:
        return [path.read_bytes() for path in (self.folder / "mail").glob("*")]


@contextmanager
def attacked(folder: Path, grip: Grip, **more: str) -> Iterator[Ends]:
    sender, to_sender = socket.socketpair()
    receiver, to_receiver = socket.socketpair()
    hold = Hold(grip, "192.0.2.1", **more)
    log = Log(folder)
    session = Session("192.0.2.1", hold, Peer(to_sender), Peer(to_receiver), log)
    thread = threading.Thread(target=session.run)
    thread.start()
    ends = Ends(sender, receiver, folder)
    ends.receiver.send(b"220 mx.starttls.test ESMTP\r\n")
    ends.sender.reply()
    yield ends
    if not ends.is_over:
        ends.sender.send(b"QUIT\r\n")
        ends.receiver.line()
        ends.receiver.send(b"221 bye\r\n")
    thread.join()
    for each in (log, sender, receiver, to_sender, to_receiver):
        each.close()


def test_he_deletes_the_capability_and_nothing_else(tmp_path: Path) -> None:
    with attacked(tmp_path, Grip.STRIP) as ends:
        assert ends.ask(b"EHLO me\r\n", *CAPABILITIES) == [CAPABILITIES[0], CAPABILITIES[2]]
    assert "deletes STARTTLS" in ends.events


def test_the_last_capability_can_be_the_one(tmp_path: Path) -> None:
    with attacked(tmp_path, Grip.STRIP) as ends:
        assert ends.ask(b"EHLO me\r\n", b"250-mx.test\r\n", b"250 STARTTLS\r\n") == [b"250 mx.test\r\n"]


def test_or_answers_the_command_with_an_error_that_the_receiver_never_sees(tmp_path: Path) -> None:
    with attacked(tmp_path, Grip.REFUSE) as ends:
        assert b"250-STARTTLS\r\n" in ends.ask(b"EHLO me\r\n", *CAPABILITIES)
        ends.sender.send(b"STARTTLS\r\n")
        assert ends.sender.reply()[0].startswith(b"454 ")
        assert ends.ask(b"NOOP\r\n", b"250 fine\r\n") == [b"250 fine\r\n"]


def test_or_breaks_the_handshake_off_with_an_alert(tmp_path: Path) -> None:
    with attacked(tmp_path, Grip.BREAK) as ends:
        assert b"250-STARTTLS\r\n" in ends.ask(b"EHLO me\r\n", *CAPABILITIES)
        ends.sender.send(b"STARTTLS\r\n")
        assert ends.sender.reply()[0].startswith(b"220 ")
        ends.sender.send(b"a hello")
        # RFC 8446 section 6: an alert (21), fatal (2), handshake_failure (40)
        assert ends.sender.some() == bytes([21, 3, 3, 0, 2, 2, 40])
        ends.is_over = True


def test_or_puts_replies_of_his_own_before_tls_and_lets_the_rest_pass(tmp_path: Path) -> None:
    with attacked(tmp_path, Grip.INJECT) as ends:
        assert b"250-STARTTLS\r\n" in ends.ask(b"EHLO me\r\n", *CAPABILITIES)
        assert ends.ask(b"STARTTLS\r\n", b"220 go\r\n") == [b"220 go\r\n"]
        assert ends.sender.reply()[0] == b"250-mx.injected.test\r\n"
        ends.sender.some()
        ends.sender.send(b"a hello")
        assert ends.receiver.some() == b"a hello"
        ends.receiver.send(b"another")
        assert ends.sender.some() == b"another"
        ends.hang_up()


def test_he_keeps_what_he_can_read_and_passes_it_on(tmp_path: Path) -> None:
    with attacked(tmp_path, Grip.STRIP) as ends:
        ends.ask(b"DATA\r\n", b"354 go\r\n")
        ends.sender.send(*MAIL, b".\r\n")
        assert [ends.receiver.line() for _ in range(4)] == [*MAIL, b".\r\n"]
        ends.receiver.send(b"250 taken\r\n")
        assert ends.sender.reply() == [b"250 taken\r\n"]
    assert ends.stolen == [b"".join(MAIL)]


def test_of_a_message_that_is_refused_he_has_nothing(tmp_path: Path) -> None:
    with attacked(tmp_path, Grip.STRIP) as ends:
        assert ends.ask(b"DATA\r\n", b"451 later\r\n") == [b"451 later\r\n"]
    assert ends.stolen == []


def test_his_own_host_says_its_own_name(tmp_path: Path) -> None:
    pem = tmp_path / "pem"
    pem.write_bytes(Authority(tmp_path).issue_pem("mail.evil.test"))
    with attacked(tmp_path, Grip.OTHER_NAME, own_name="mail.evil.test", pem=str(pem)) as ends:
        answer = ends.ask(b"EHLO me\r\n", b"250-mx.test\r\n", b"250 SIZE 1000\r\n")
        assert answer == [b"250-mail.evil.test\r\n", b"250-STARTTLS\r\n", b"250 SIZE 1000\r\n"]


QUERY = dns.message.make_query("_mta-sts.shop.test", "TXT")


def test_a_forged_answer_looks_like_the_name_servers_own() -> None:
    answer = dns.message.from_wire(forge(QUERY, Forgery("_mta-sts.shop.test", "TXT", ('"v=none"',))))
    assert answer.id == QUERY.id
    assert answer.flags & dns.flags.AA
    assert [rrset.to_text() for rrset in answer.answer] == ['_mta-sts.shop.test. 0 IN TXT "v=none"']


@pytest.mark.parametrize(("rcode", "authorities"), [("NXDOMAIN", 1), ("SERVFAIL", 0)])
def test_he_can_deny_a_record_too(rcode: str, authorities: int) -> None:
    answer = dns.message.from_wire(forge(QUERY, Forgery("_mta-sts.shop.test", "TXT", rcode=rcode)))
    assert dns.rcode.to_text(answer.rcode()) == rcode
    assert (len(answer.answer), len(answer.authority)) == (0, authorities)
