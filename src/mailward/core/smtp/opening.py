"""One look at a server: greeting, EHLO, STARTTLS; bytes in, bytes out. All transitions are in this file."""

import re
from enum import StrEnum

MAX_REPLY_LINE = 2048  # RFC 5321 §4.5.3.1.5 asks for 512
MAX_REPLY_LINES = 128
MAX_REPLY_KEPT = 200  # characters of the text of a refusal

_LINE = re.compile(rb"(?P<code>[2-5][0-9]{2})(?P<more>[ -]|\Z)(?P<text>.*)", re.DOTALL)
_EHLO_NAME = re.compile(r"\[[0-9A-Za-z:.]{2,60}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})")


class Step(StrEnum):
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    HANDSHAKE = "handshake"
    """The server waits for TLS."""
    EHLO_IN_TLS = "ehlo-in-tls"
    CLOSING = "closing"
    """All is seen: send what is to be sent, and close."""


class Reason(StrEnum):
    """Why a look ended before a handshake."""

    TURNED_AWAY = "turned-away"
    """It does not speak to us, now or ever: that says nothing of its TLS."""
    NOT_OFFERED = "not-offered"
    """It does not offer STARTTLS."""
    REFUSED = "refused"
    """It offers STARTTLS and refuses it."""
    BROKEN = "broken"
    """What it says is no SMTP."""


class Opening:
    def __init__(self, ehlo_name: str) -> None:
        """Raises ValueError for what is neither a name nor an address literal."""
        if not _EHLO_NAME.fullmatch(ehlo_name):
            raise ValueError(f"{ehlo_name[:60]!r} is no name for EHLO")
        self.step = Step.GREETING
        self.reason: Reason | None = None
        self.text = ""
        """What the server said where it ended the look; printable ASCII."""
        self.greeting = ""
        self.extensions: tuple[str, ...] = ()
        """Of the answer to EHLO, as they came."""
        self.extensions_in_tls: tuple[str, ...] = ()
        """Of the second answer, where the caller went on after the handshake."""
        self._name = ehlo_name
        self._in = b""
        self._out = b""
        self._lines: list[tuple[int, str]] = []

    @property
    def offers_starttls(self) -> bool:
        return any(line.partition(" ")[0].upper() == "STARTTLS" for line in self.extensions)

    @property
    def _reads(self) -> bool:
        return self.step in (Step.GREETING, Step.EHLO, Step.STARTTLS, Step.EHLO_IN_TLS)

    def outgoing(self) -> bytes:
        out, self._out = self._out, b""
        return out

    def receive(self, data: bytes) -> None:
        """What the server has sent; b"" when it has closed."""
        if self._reads and not data:
            self._end(Reason.TURNED_AWAY, "the connection was closed")
        self._in += data
        while self._reads and (end := self._in.find(b"\n")) >= 0:
            line, self._in = self._in[:end].removesuffix(b"\r"), self._in[end + 1 :]
            self._take_line(line)
        if self._reads and len(self._in) > MAX_REPLY_LINE:
            self._end(Reason.BROKEN, "a reply without an end of line")
        elif self.step is Step.HANDSHAKE and self._in:
            self._end(Reason.BROKEN, "bytes after the answer to STARTTLS")
        if not self._reads:
            self._in = b""

    def go_on_in_tls(self) -> None:
        """The handshake is over, and the caller wants to know what is offered now (RFC 3207 section 4.2)."""
        self._send(f"EHLO {self._name}", Step.EHLO_IN_TLS)

    def leave(self) -> None:
        """The caller has seen enough, over TLS or not."""
        if self.step is not Step.CLOSING:
            self._out += b"QUIT\r\n"
            self.step = Step.CLOSING

    def _take_line(self, line: bytes) -> None:
        found = _LINE.fullmatch(line)
        if found is None or len(line) > MAX_REPLY_LINE:
            self._end(Reason.BROKEN, _printable(line))
            return
        self._lines.append((int(found["code"]), _printable(found["text"])))
        if len(self._lines) > MAX_REPLY_LINES:
            self._end(Reason.BROKEN, f"a reply of more than {MAX_REPLY_LINES} lines")
        elif found["more"] != b"-":
            lines, self._lines = self._lines, []
            self._take_reply(lines[-1][0], [text for _, text in lines])

    def _take_reply(self, code: int, texts: list[str]) -> None:
        said = f"{code} {texts[0]}"
        if self.step is Step.EHLO_IN_TLS:
            self.extensions_in_tls = tuple(texts[1:]) if code == 250 else ()
            self.leave()
        elif self.step is Step.STARTTLS:
            if code == 220:  # RFC 3207 §4: the only answer that lets us begin
                self.step = Step.HANDSHAKE
            else:
                self._end(Reason.REFUSED, said)
        elif code // 100 != 2:
            self._end(Reason.TURNED_AWAY, said)
        elif self.step is Step.GREETING:
            self.greeting = texts[0]
            self._send(f"EHLO {self._name}", Step.EHLO)
        else:
            self.extensions = tuple(texts[1:])
            if self.offers_starttls:
                self._send("STARTTLS", Step.STARTTLS)
            else:
                self._end(Reason.NOT_OFFERED, said)

    def _send(self, command: str, step: Step) -> None:
        self._out += f"{command}\r\n".encode("ascii")
        self.step = step

    def _end(self, reason: Reason, text: str) -> None:
        if self.step is Step.EHLO_IN_TLS:
            self.step = Step.CLOSING  # what counts is seen already
            return
        self.reason, self.text = reason, text[:MAX_REPLY_KEPT]
        if reason is Reason.BROKEN:
            self.step = Step.CLOSING  # whoever speaks no SMTP understands no QUIT
        else:
            self.leave()


def _printable(text: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in text[:MAX_REPLY_LINE])
