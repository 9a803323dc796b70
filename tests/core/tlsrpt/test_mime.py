"""Our MIME reader finds what the standard library's finds in well-formed mails, and more in others."""

import base64
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.tlsrpt.deviations import Notes, slugs_of
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.limits import DEFAULT_LIMITS, Limits
from mailward.core.tlsrpt.mime import Entity, decode_base64, parse_entity, parse_structured, walk


def leaves(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Entity]:
    return list(walk(parse_entity(raw, limits), Notes(), limits))


@given(
    st.lists(
        st.tuples(st.sampled_from(["text/plain", "application/tlsrpt+json"]), st.binary(max_size=90)),
        min_size=1,
    ),
    st.text(
        st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_characters="\x7f"),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from(["base64", "quoted-printable"]),
)
def test_it_finds_what_the_standard_library_finds(
    parts: list[tuple[str, bytes]], name: str, encoding: str
) -> None:
    mail = EmailMessage(policy=policy.SMTP)
    mail.make_mixed()
    for kind, content in parts:
        main, _, sub = kind.partition("/")
        part = EmailMessage(policy=policy.SMTP)
        part.set_content(content, main, sub, cte=encoding, filename=name.strip() or "a")
        mail.attach(part)
    raw = mail.as_bytes()
    theirs = [
        part for part in message_from_bytes(raw, policy=policy.default).walk() if not part.is_multipart()
    ]
    ours = leaves(raw)
    assert [leaf.content_type.value for leaf in ours] == [part.get_content_type() for part in theirs]
    assert [leaf.file_name for leaf in ours] == [part.get_filename() for part in theirs]
    assert [leaf.decode(Notes(), "") for leaf in ours] == [part.get_payload(decode=True) for part in theirs]


STRUCTURED = [
    ("text/plain", "text/plain", {}),
    ("Text/PLAIN (comment); charset=utf-8", "text/plain", {"charset": "utf-8"}),
    ('a/b; x="y;z"; w=v', "a/b", {"x": "y;z", "w": "v"}),
    (r'a/b; x="q\"r\\"', "a/b", {"x": 'q"r\\'}),
    ("a/b; x=1; x=2", "a/b", {"x": "1"}),  # the first one
    ("a/b; x*=utf-8''%e2%82%ac", "a/b", {"x": "€"}),
    ('a/b; x*0="one"; x*1="two"', "a/b", {"x": "onetwo"}),
    ("a/b; x*0*=utf-8''%e2%82; x*1*=%ac", "a/b", {"x": "€"}),
    ('a/b; x="not closed', "a/b", {"x": "not closed"}),
    ("", "", {"x": ""}),
    (";;;", "", {"x": ""}),
]


@pytest.mark.parametrize(("text", "value", "parameters"), STRUCTURED)
def test_a_value_with_parameters_is_taken_apart(text: str, value: str, parameters: dict[str, str]) -> None:
    structured = parse_structured(text)
    assert structured.value == value
    assert {name: structured.parameter(name) for name in parameters} == parameters


BASE64 = [
    ("clean lines", b"aGVs\r\nbG8=\r\n", b"hello", []),
    ("no line at all", b"", b"", []),
    ("an empty line after it", b"aGVs\nbG8=\n\n", b"hello", []),
    ("blanks", b" aGVs bG8=", b"hello", ["base64-noise"]),
    ("an empty line inside", b"aGVs\n\nbG8=", b"hello", ["base64-noise"]),
    ("other characters", b"aG!Vs#bG8=", b"hello", ["base64-noise"]),
    ("no padding", b"aGVsbG8", b"hel", []),
    ("one character too many", b"aGVsb", b"hel", []),
]


@pytest.mark.parametrize(
    ("data", "content", "slugs"), [row[1:] for row in BASE64], ids=[row[0] for row in BASE64]
)
def test_base64_is_decoded_past_its_noise(data: bytes, content: bytes, slugs: list[str]) -> None:
    notes = Notes()
    assert decode_base64(data, notes, "part[0]") == content
    assert slugs_of(notes.all()) == slugs


@given(st.binary(max_size=300))
def test_any_base64_is_decoded_without_a_note(data: bytes) -> None:
    notes = Notes()
    assert decode_base64(base64.encodebytes(data), notes, "") == data
    assert notes.all() == ()


def test_a_boundary_that_begins_another_is_not_taken_for_it() -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--bc\nstill one\n--b\n\ntwo\n--b--\nthree"
    )
    assert [leaf.body for leaf in leaves(raw)] == [b"one\n--bc\nstill one", b"two"]


def test_the_first_of_doubled_fields_counts_and_folds_are_undone() -> None:
    entity = parse_entity(b"SUBJECT: one\r\n two\r\nSubject: three\r\n\r\nSubject: body", DEFAULT_LIMITS)
    assert entity.get("subject") == "one two"
    assert entity.get("date") is None


@pytest.mark.parametrize(
    ("raw", "limits", "code"),
    [
        (b"A: b\n" * 1000, Limits(max_header_bytes=1000), "too-large"),
        (b"Content-Type: multipart/x; boundary=b\n\n" + b"--b\n\n\n" * 9, Limits(max_parts=5), "too-many"),
        (b"Content-Type: message/rfc822\n\n" * 20, Limits(max_mime_depth=5), "too-deep"),
    ],
)
def test_a_limit_ends_the_reading(raw: bytes, limits: Limits, code: str) -> None:
    with pytest.raises(Unreadable) as raised:
        leaves(raw, limits)
    assert raised.value.code == code
