from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.vectors import load_cases

from mailward.core.tlsrpt.record import (
    NoRecord,
    Record,
    RecordError,
    RecordInvalid,
    SeveralRecords,
    Target,
    mailto_target,
    parse_record,
    serialise_record,
)

MAILTO = Target("mailto", "mailto:a@example.com", "a@example.com")
HTTPS = Target("https", "https://r.example/x")


@pytest.mark.parametrize(
    "txt, expected, why",
    [
        (b"v=TLSRPTv1;rua=mailto:a@example.com", Record((MAILTO,)), "the RFC's first example"),
        (b"v=TLSRPTv1; rua=https://r.example/x", Record((HTTPS,)), "its second"),
        (b"v=TLSRPTv1; rua=mailto:a@example.com;", Record((MAILTO,)), "semicolon at the end"),
        (
            b"v=TLSRPTv1; rua=mailto:a@example.com \t, https://r.example/x",
            Record((MAILTO, HTTPS)),
            "white space around ','",
        ),
        (
            b"v=TLSRPTv1; ext=1; rua=mailto:a@example.com",
            Record((MAILTO,), (), (("ext", "1"),)),
            "unknown field ignored",
        ),
        (
            b"v=TLSRPTv1; rua=mailto:a@example.com; rua=mailto:b@example.com",
            Record((MAILTO,)),
            "first of duplicates",
        ),
        (
            b"v=TLSRPTv1; rua=ftp://x.example/,mailto:a@example.com",
            Record((MAILTO,), ("ftp://x.example/",)),
            "unknown scheme",
        ),
    ],
)
def test_g1_the_record_is_read(txt: bytes, expected: Record, why: str) -> None:
    assert parse_record([txt]) == expected, why


@pytest.mark.parametrize(
    "uri, address, why",
    [
        (b"MAILTO:a@example.com", "a@example.com", "schemes have no case (RFC 3986)"),
        (b"mailto:a%21b@example.com", "a!b@example.com", "'!' encoded"),
        (b"mailto:a%2bb+c@example.com", "a+b+c@example.com", "'+' stays '+'"),
        (b"mailto:%22a%2Cb%22@example.com", '"a,b"@example.com', "quoted local part"),
        (b"mailto:a@example.com?subject=x", "a@example.com", "header fields are of no use"),
        (b"mailto:a@xn--bcher-kva.example", "a@xn--bcher-kva.example", "A-label"),
    ],
)
def test_g1_mail_addresses_are_percent_decoded(uri: bytes, address: str, why: str) -> None:
    assert parse_record([b"v=TLSRPTv1; rua=" + uri]).targets == (Target("mailto", uri.decode(), address),), (
        why
    )


@pytest.mark.parametrize(
    "uri, code, why",
    [
        (b"mailto:a@example.com!10m", "rua-size-hint", "DMARC's size hint"),
        (b"", "rua-empty", "empty"),
        (b"mailto:a@example.com,,https://r.example/", "rua-empty", "empty between"),
        (b"mailto:a@example.com,", "rua-empty", "empty at the end"),
        (b"mailto:", "rua-address", "no address"),
        (b"mailto:example.com", "rua-address", "no local part"),
        (b"mailto:@example.com", "rua-address", "empty local part"),
        (b"mailto:a@b@example.com", "rua-address", "two '@'"),
        (b"mailto:a..b@example.com", "rua-address", "empty atom"),
        (b"mailto:a@-example.com", "rua-address", "no domain"),
        (b"mailto:a%0D%0ARCPT@example.com", "rua-address", "line ends smuggled in"),
        (b"mailto:%FF@example.com", "rua-address", "not ASCII"),
        (b"mailto:" + b"a" * 65 + b"@example.com", "rua-address", "local part of 65"),
        (b"mailto:a@example.com other", "rua-syntax", "text after the URI"),
        (b"mailto:a%2@example.com", "rua-syntax", "half an encoding"),
        (b"a@example.com", "rua-syntax", "no scheme"),
        (b"https:r.example", "rua-https", "no authority"),
        (b"https:///x", "rua-https", "no host"),
        (b"https://r.example:99999/", "rua-https", "no port"),
        (b"https://[::1/", "rua-https", "broken IPv6 literal"),
        (b"http://r.example/", "rua-unusable", "only mailto and https are defined"),
    ],
)
def test_g1_targets_that_no_sender_can_use_are_invalid(uri: bytes, code: str, why: str) -> None:
    with pytest.raises(RecordInvalid) as caught:
        parse_record([b"v=TLSRPTv1; rua=" + uri])
    assert (caught.value.code, caught.value.section) == (code, "RFC 8460 section 3"), why


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(RecordInvalid) as caught:
        parse_record([b"v=TLSRPTv1; rua=mailto:a@b.example!10m,,mailto:c@d.example,https://; size; ;"])
    every = (caught.value, *caught.value.others)
    assert [(each.code, each.field) for each in every] == [
        ("field-syntax", "size"),
        ("empty-field", None),
        ("rua-size-hint", "rua"),
        ("rua-empty", "rua"),
        ("rua-https", "rua"),
    ]
    assert {each.section for each in every} == {"RFC 8460 section 3"}


@pytest.mark.parametrize(
    "txt, code, why",
    [
        (b"v=TLSRPTv1;", "no-fields", "version alone"),
        (b"v=TLSRPTv1; ext=1", "rua-missing", "no rua"),
        (b"v=TLSRPTv1; RUA=mailto:a@example.com", "rua-missing", "names have case"),
        (b"v=TLSRPTv1; rua=mailto:a@example.com;;", "empty-field", "two semicolons"),
        ("v=TLSRPTv1; rua=mailto:tls@bücher.example".encode(), "not-ascii", "U-label"),
        (b"v=TLSRPTv1; rua=mailto:a@example.com; e=a=b", "field-syntax", "'=' in an unknown field"),
    ],
)
def test_g1_syntax_errors_are_named(txt: bytes, code: str, why: str) -> None:
    with pytest.raises(RecordInvalid) as caught:
        parse_record([txt])
    assert caught.value.code == code, why


def test_g1_exactly_one_record_counts() -> None:
    good = b"v=TLSRPTv1; rua=mailto:a@example.com"
    assert parse_record([b"v=spf1 -all", good]) == Record((MAILTO,))
    with pytest.raises(SeveralRecords):
        parse_record([good, good + b";"])
    for txts in (
        [],
        [b"v=TLSRPTv2; rua=mailto:a@example.com"],
        [b"v=tlsrptv1;rua=x"],
        [b"v=TLSRPTv1 ;rua=mailto:a@b"],
    ):
        with pytest.raises(NoRecord):
            parse_record(txts)


def test_g2_all_targets_are_kept_in_their_order() -> None:
    record = parse_record([b"v=TLSRPTv1;rua=https://r.example/x,mailto:a@example.com"])
    assert record.targets == (HTTPS, MAILTO)


@pytest.mark.parametrize(
    "address", ["tok3n@reports.example", "a!b;c@example.com", "a'b~{x}@example.com", "50%@example.com"]
)
def test_an_address_becomes_a_target_that_reads_back(address: str) -> None:
    if ";" in address:  # not in an unquoted local part
        with pytest.raises(RecordInvalid):
            mailto_target(address)
        return
    record = Record((mailto_target(address),))
    assert parse_record([serialise_record(record).encode()]).targets[0].address == address


atoms = st.text("abcXYZ019!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=20)
mailtos = st.builds(
    lambda local, domain: mailto_target(f"{local}@{domain}"), atoms, st.sampled_from(["a.example", "b.test"])
)
paths = st.text("abc019-._~%/".replace("%", ""), max_size=20).map(
    lambda path: Target("https", f"https://r.example/{path}")
)
records = st.builds(Record, st.lists(mailtos | paths, min_size=1, max_size=4).map(tuple))


@given(records)
def test_any_record_survives_a_round_trip(record: Record) -> None:
    assert parse_record([serialise_record(record).encode()]) == record


def test_a_record_without_targets_is_not_written() -> None:
    with pytest.raises(RecordInvalid):
        serialise_record(Record(()))


@given(st.lists(st.binary() | st.binary().map(b"v=TLSRPTv1;rua=".__add__), max_size=3))
def test_any_bytes_give_a_record_or_the_typed_error(txts: list[bytes]) -> None:
    with suppress(RecordError):
        parse_record(txts)


@given(st.text("abc@.%2Cmailto:https/[]?#!;, "))
def test_any_uri_gives_a_record_or_the_typed_error(rua: str) -> None:
    with suppress(RecordError):
        parse_record([f"v=TLSRPTv1; rua={rua}".encode()])


def test_g1_agrees_with_the_shared_vectors() -> None:
    for case in load_cases("tlsrpt-txt.json"):
        try:
            record = parse_record([b"".join(map(str.encode, rr)) for rr in case["txt"]])
            outcome, uris = "valid", [target.uri for target in record.targets]
        except RecordInvalid:
            outcome, uris = "invalid", None
        except RecordError:
            outcome, uris = "none", None
        assert (outcome, uris) == (case["expect"], case.get("rua")), case
