import email
import email.policy
import re
from dataclasses import replace
from datetime import UTC, date, datetime
from email.message import EmailMessage

import pytest

from mailward.core.tlsrpt.results import ResultType
from mailward.notify.mails import (
    InvitationLetter,
    build_invitation_mail,
    build_problem_mail,
    build_test_mail,
    sender_domain,
)
from mailward.store.services.notifications import Letter

LETTER = Letter(
    message_id="<problem.1@example.net>",
    recipient="bob@example.net",
    has_login=True,
    queued_at=datetime(2026, 11, 24, 12, tzinfo=UTC),
    organisation="Example Ltd",
    result_types=("certificate-expired",),
    problem_ids=(7,),
    hosts=("mx1.example.net",),
    host_count=1,
    domains=tuple(f"d{n}.test" for n in range(10)),
    domain_count=10_000,
    sessions=20_000,
    reporters=("google.com", "microsoft.com"),
    reporter_count=2,
    first_day=date(2026, 11, 21),
    last_day=date(2026, 11, 22),
)


def built(letter: Letter = LETTER, sender: str = "Mailward <mailward@example.net>") -> EmailMessage:
    content = build_problem_mail(letter, sender=sender, console_url="https://console.example.net")
    # RFC 5322 section 2.3: CR and LF only together, lines of at most 998 characters; ASCII suits every relay
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|[^\r\n]{999}", content)
    assert content.isascii()
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text(letter: Letter = LETTER) -> str:
    return str(built(letter).get_content()).replace("\r\n", "\n")


def test_the_subject_names_cause_host_and_number_of_domains() -> None:
    assert re.fullmatch(
        r"Mailward: (the )?certificate.* expired on mx1\.example\.net \(10,000 domains\)", built()["Subject"]
    )


def test_the_header_says_who_when_and_that_a_machine_wrote_it() -> None:
    message = built()
    assert message["From"] == "Mailward <mailward@example.net>"
    assert message["To"] == "bob@example.net"
    assert message["Date"] == "Tue, 24 Nov 2026 12:00:00 +0000"
    assert message["Message-ID"] == "<problem.1@example.net>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"


def test_the_text_says_what_happened_what_it_means_what_to_do_and_where_to_look() -> None:
    body = text()
    assert "20,000 failed sessions to 10,000 domains" in " ".join(body.split())
    assert "21 November 2026 to 22 November 2026" in " ".join(body.split())
    assert "2 reporters: google.com, microsoft.com" in " ".join(body.split())
    assert "What it means" in body
    assert re.search(r"^1\. ", body, re.MULTILINE)
    assert "  d9.test\n  and 9,990 more" in body
    assert "https://console.example.net/problems/7/" in body
    assert "Example Ltd" in body


def test_commands_to_copy_stand_on_one_line_with_the_host_concerned() -> None:
    for command in re.findall(r"`([^`]*)`", text()):
        assert "\n" not in command
    assert "-connect mx1.example.net:25" in text()


def test_who_has_no_login_gets_no_link_to_pages() -> None:
    body = text(replace(LETTER, has_login=False))
    assert "https://console.example.net" not in body
    assert "named you" in body


def test_one_session_of_one_domain_is_told_in_the_singular() -> None:
    one = replace(
        LETTER, domains=("d.test",), domain_count=1, sessions=1, reporters=("a.test",), reporter_count=1
    )
    assert "(1 domain)" in built(one)["Subject"]
    assert "1 failed session to 1 domain (1 reporter: a.test)" in " ".join(text(one).split())


def test_many_hosts_are_counted_and_the_first_are_named() -> None:
    many = replace(LETTER, hosts=("mta-sts.a.test", "mta-sts.b.test"), host_count=2, problem_ids=(7, 8))
    assert "on 2 hosts" in built(many)["Subject"]
    assert "  mta-sts.a.test\n  mta-sts.b.test" in text(many)
    assert "https://console.example.net/problems/\n" in text(many)


def test_a_policy_host_is_named_as_what_could_not_be_used() -> None:
    policy = replace(
        LETTER, result_types=("sts-policy-fetch-error",), hosts=("mta-sts.d.test",), domains=("d.test",)
    )
    policy = replace(policy, domain_count=1)
    assert built(policy)["Subject"].endswith(": mta-sts.d.test (1 domain)")
    assert "https://mta-sts.d.test/.well-known/mta-sts.txt" in text(policy)


def test_what_may_be_an_attack_is_said_to_be() -> None:
    assert "Could it be an attack?" in text(
        replace(LETTER, result_types=("starttls-not-supported",)),
    )


def test_a_host_that_nobody_names_leaves_a_whole_sentence() -> None:
    unnamed = replace(LETTER, hosts=("",))
    assert built(unnamed)["Subject"].endswith("expired (10,000 domains)")


def test_many_kinds_share_a_mail_that_names_them_and_warns() -> None:
    kinds = ("certificate-expired", *(f"made-up-{number}" for number in range(20)))
    many = replace(
        LETTER, result_types=kinds, problem_ids=tuple(range(21)), domains=("d.test",), domain_count=1
    )
    assert built(many)["Subject"] == "Mailward: 21 more problems (1 domain)"
    body = " ".join(text(many).split())
    assert "made up: see who reports them" in body
    assert "(certificate-expired)" in body
    assert "(made-up-8) and 11 more" in body
    assert "https://console.example.net/problems/" in body


@pytest.mark.parametrize("result_type", [*ResultType, "made-up-by-a-sender", ""])
def test_every_result_type_makes_a_mail(result_type: str) -> None:
    assert "What to do" in text(
        replace(LETTER, result_types=(result_type,)),
    )


@pytest.mark.parametrize(
    "hostile",
    [
        "mx\r\nBcc: eve@example.net",  # a header of its own
        "mx\n\nClick http://evil.test/",  # a body of its own
        "mx1.\u202etset.live",  # letters that turn the line round
        "<img src=x>",  # for mail programs that guess at HTML
        "x" * 5000,  # a page of nothing
        "evil.test/login?a=b",  # no name holds a path: mail programs make links of them
    ],
)
def test_strings_of_strangers_stay_one_short_word(hostile: str) -> None:
    letter = replace(
        LETTER, hosts=(hostile,), reporters=(hostile,), domains=("d.test",), result_types=(hostile[:60],)
    )
    message = built(letter)
    assert message.get_all("Bcc") is None
    assert "\n" not in message["Subject"]
    assert len(message["Subject"]) < 250
    for piece in ("http://evil", "\u202e", "<img", "x" * 200, "/login"):
        assert piece not in message.get_content()
        assert piece not in message["Subject"]


def test_an_organisation_and_a_sender_with_odd_names_break_nothing() -> None:
    odd = replace(LETTER, organisation='Müller\r\n& Söhne, "quoted"')
    assert "Müller & Söhne" in " ".join(text(odd).split())
    assert built(sender='"Mail, ward" <m@example.net>')["From"].addresses[0].display_name == "Mail, ward"


def test_the_test_mail_says_that_it_is_one() -> None:
    content = build_test_mail(
        "bob@example.net",
        sender="mailward@example.net",
        console_url="https://console.example.net",
        message_id="<test.1@example.net>",
        date=LETTER.queued_at,
    )
    assert b"Subject: Mailward: test mail" in content


INVITATION = InvitationLetter(
    recipient="rob@new.test",
    organisation="Example Ltd",
    role="reader",
    inviter="Ada",
    link="https://console.example.net/join/token/",
    days=7,
)


def invited(letter: InvitationLetter) -> EmailMessage:
    content = build_invitation_mail(
        letter, sender="m@example.net", message_id="<invitation.1@example.net>", date=LETTER.queued_at
    )
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_an_invitation_says_by_whom_where_to_and_for_how_long() -> None:
    message = invited(INVITATION)
    assert message["Subject"] == "Mailward: an invitation to Example Ltd"
    body = str(message.get_content()).replace("\r\n", "\n")
    assert "Ada invites you to Example Ltd on Mailward, as reader." in " ".join(body.split())
    assert "\nhttps://console.example.net/join/token/\n" in body
    assert "works once, for 7 days" in body


@pytest.mark.parametrize("hostile", ["Ltd\r\nBcc: eve@example.net", "Ltd\n\nhttp://evil.test/", "x" * 5000])
def test_names_in_an_invitation_stay_on_their_line(hostile: str) -> None:
    message = invited(replace(INVITATION, organisation=hostile, inviter=hostile))
    assert message.get_all("Bcc") is None
    assert len(message["Subject"]) < 250
    assert not re.search(r"^http://evil", str(message.get_content()), re.MULTILINE)
    assert "x" * 201 not in str(message.get_content())


@pytest.mark.parametrize(
    ("sender", "domain"),
    [("Mailward <m@example.net>", "example.net"), ("m@localhost", "localhost"), ("nonsense", "localhost")],
)
def test_message_ids_carry_the_senders_domain(sender: str, domain: str) -> None:
    assert sender_domain(sender) == domain
