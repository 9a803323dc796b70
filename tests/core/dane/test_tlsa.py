import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.dane.tlsa import Tlsa, TlsaInvalid, count_usable, owner_names, parse_tlsa

SHA256, SHA512 = "ab" * 32, "cd" * 64

RECORDS = [
    (f"3 1 1 {SHA256}", True, "DANE-EE, key, SHA-256: the usual one"),
    (f"3 0 1 {SHA256}", True, "of the certificate"),
    (f"2 0 1 {SHA256}", True, "DANE-TA"),
    (f"3 1 2 {SHA512}", True, "SHA-512"),
    ("3 1 0 3059", True, "a whole key in DER"),
    (f"0 1 1 {SHA256}", False, "dane-d14: PKIX-TA is unusable (RFC 7672 section 3.1.3)"),
    (f"1 1 1 {SHA256}", False, "PKIX-EE too"),
    (f"3 1 9 {SHA256}", False, "dane-d16: an unknown matching type"),
    (f"3 2 1 {SHA256}", False, "an unknown selector"),
    (f"3 1 1 {SHA256[:-2]}", False, "dane-d17: a digest that is too short"),
    (f"3 1 2 {SHA256}", False, "a digest of the wrong kind"),
    ("3 1 0 ff", False, "no DER"),
    ("3 1 0 ", False, "no data"),
]


@pytest.mark.parametrize("text, usable, reason", RECORDS, ids=[row[2] for row in RECORDS])
def test_which_records_a_client_can_use(text: str, usable: bool, reason: str) -> None:
    assert parse_tlsa(text).is_usable is usable
    assert count_usable([text]) == usable


def test_data_may_come_in_groups() -> None:
    assert parse_tlsa("3 1 1 ab CD ef") == Tlsa(3, 1, 1, b"\xab\xcd\xef")


@pytest.mark.parametrize(
    "text", ["", "3 1 1", "3 1 abc", "256 1 1 ab", "-1 1 1 ab", "3 1 1 abc", "3 1 1 ab\n", "٣ 1 1 ab"]
)
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(TlsaInvalid):
        parse_tlsa(text)
    assert count_usable([text]) == 0


def test_one_good_record_among_bad_ones_is_enough() -> None:
    assert count_usable(["nonsense", f"0 0 1 {SHA256}", f"3 1 1 {SHA256}"]) == 1


def test_dane_d26_the_last_name_of_the_chain_is_asked_first_and_never_one_between() -> None:
    assert owner_names("mx.a", ("mx.b", "mx.c"), 25) == ("_25._tcp.mx.c", "_25._tcp.mx.a")


def test_without_cnames_there_is_one_name() -> None:
    assert owner_names("mx.a", (), 587) == ("_587._tcp.mx.a",)


@given(st.text(alphabet="0123 abf\n", max_size=40))
def test_any_text_is_a_record_or_none(text: str) -> None:
    try:
        record = parse_tlsa(text)
    except TlsaInvalid:
        return
    assert max(record.usage, record.selector, record.matching_type) < 256
