import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.fakes.relay import FakeRelay

from mailward.config import Relay
from mailward.net import clock
from mailward.net.authority import Authority, load_authority
from mailward.net.mailer import (
    Deadlines,
    MailerError,
    RecipientRefused,
    RelaySession,
    check_relay,
    send_mail,
)

MESSAGE = b"Subject: hello\r\n\r\n.a line that starts with a dot\r\n"
TO = ["bob@example.net"]


def settings(relay: FakeRelay, **changes: object) -> Relay:
    return msgspec.structs.replace(relay.settings, **changes)


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as relay:
        yield relay


async def test_a_message_arrives_as_it_was_written(relay: FakeRelay) -> None:
    assert await send_mail(relay.settings, MESSAGE, TO) == {}
    (mail,) = relay.mails
    assert (mail.sender, mail.recipients) == ("mailward@example.net", ("bob@example.net",))
    assert mail.content == MESSAGE


async def test_several_messages_go_over_one_connection(relay: FakeRelay) -> None:
    async with RelaySession(relay.settings) as session:
        await session.send(MESSAGE, TO)
        await session.send(MESSAGE, ["eve@example.net"])
    assert (len(relay.mails), relay.connections) == (2, 1)


async def test_a_refused_recipient_spoils_nothing_for_the_next(relay: FakeRelay) -> None:
    relay.refuse_recipient = "gone@example.net"
    async with RelaySession(relay.settings) as session:
        with pytest.raises(RecipientRefused, match=r"550 5\.1\.1 no such person") as caught:
            await session.send(MESSAGE, ["gone@example.net"])
        assert not caught.value.temporary
        assert await session.send(MESSAGE, ["gone@example.net", *TO]) == {
            "gone@example.net": "550 5.1.1 no such person"
        }
    assert len(relay.mails) == 1


@pytest.mark.parametrize(
    ("answer", "temporary"),
    [
        ("451 4.3.0 later", True),  # RFC 5321 section 4.2.1: 4yz may succeed when tried again
        ("554 5.7.1 no spam", False),
    ],
)
async def test_a_refused_message_says_whether_to_try_again(
    relay: FakeRelay, answer: str, temporary: bool
) -> None:
    relay.answer = answer
    with pytest.raises(MailerError, match=answer) as caught:
        await send_mail(relay.settings, MESSAGE, TO)
    assert caught.value.temporary is temporary


async def test_nobody_listening_is_temporary(relay: FakeRelay) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(MailerError) as caught:
            await send_mail(settings(relay, port=unused.getsockname()[1]), MESSAGE, TO)
    assert caught.value.temporary


async def test_a_relay_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        relay = Relay(host="127.0.0.1", port=silent.getsockname()[1], security="none")
        with pytest.raises(MailerError, match=r"no answer within 0\.2 seconds"):
            await check_relay(relay, deadlines=Deadlines(step=30, opening=0.2))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"host": ""}, "no mail relay is configured"),
        ({"security": "starttls"}, "the relay lacks what is asked of it"),  # this one offers no STARTTLS
    ],
)
async def test_settings_that_cannot_work_are_said_so(
    relay: FakeRelay, changes: dict[str, str], reason: str
) -> None:
    with pytest.raises(MailerError, match=reason) as caught:
        await send_mail(settings(relay, **changes), MESSAGE, TO)
    assert not caught.value.temporary


@pytest.mark.parametrize("address", ["bob@example.net\r\nRCPT TO:<eve@example.net>", "bob\n@example.net"])
async def test_a_line_end_in_an_address_injects_nothing(relay: FakeRelay, address: str) -> None:
    with pytest.raises(MailerError):
        await send_mail(relay.settings, MESSAGE, [address])
    assert relay.mails == []


class TestTls:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return load_authority(tmp_path)

    @pytest.fixture
    def context(self, authority: Authority, tmp_path: Path) -> ssl.SSLContext:
        pem = tmp_path / "relay.pem"
        pem.write_bytes(authority.issue("localhost", clock.now()))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pem)
        return context

    @pytest.fixture
    def trusted(self, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding

        path = tmp_path / "trusted.pem"
        path.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
        monkeypatch.setenv("SSL_CERT_FILE", str(path))

    @pytest.mark.usefixtures("trusted")
    @pytest.mark.parametrize("security", ["starttls", "tls"])
    async def test_a_trusted_relay_gets_the_password_and_the_mail(
        self, context: ssl.SSLContext, security: str
    ) -> None:
        with FakeRelay(tls=context, implicit_tls=security == "tls", password="right") as relay:
            good = settings(relay, host="localhost", security=security, username="u", password="right")
            await send_mail(good, MESSAGE, TO)
            with pytest.raises(MailerError, match="refused the user name or password: 535") as caught:
                await send_mail(msgspec.structs.replace(good, password="wrong"), MESSAGE, TO)
            assert not caught.value.temporary
            assert len(relay.mails) == 1

    @pytest.mark.parametrize("security", ["starttls", "tls"])
    async def test_an_untrusted_certificate_gets_nothing(
        self, context: ssl.SSLContext, security: str
    ) -> None:
        with FakeRelay(tls=context, implicit_tls=security == "tls") as relay:
            with pytest.raises(MailerError, match="certificate is not trusted"):
                await send_mail(settings(relay, host="localhost", security=security), MESSAGE, TO)
            assert relay.mails == []

    @pytest.mark.usefixtures("trusted")
    async def test_a_certificate_for_another_name_gets_nothing(self, context: ssl.SSLContext) -> None:
        with FakeRelay(tls=context) as relay, pytest.raises(MailerError, match="certificate is not trusted"):
            await send_mail(settings(relay, security="starttls"), MESSAGE, TO)
