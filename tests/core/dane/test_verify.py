"""Chains against TLSA records, with real certificates (RFC 7672 section 3)."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.core.check.made import DOMAIN, MX, NOW, authority, chain
from tests.core.vectors import load_cases
from tests.zoo.certs import tlsa

from mailward.core.certificate import Certificate, read_certificate, read_chain
from mailward.core.dane.tlsa import Tlsa, parse_tlsa
from mailward.core.dane.verify import Match, Verdict, stale_combinations, strongest, verify


def presented(kind: str = "good", name: str = MX) -> tuple[Certificate, ...]:
    return read_chain(each.public_bytes(Encoding.DER) for each in chain(kind, name).certificates)


def records(*texts: str, kind: str = "good", name: str = MX) -> list[Tlsa]:
    issuer = authority().intermediate.certificate
    return [parse_tlsa(tlsa(text, chain(kind, name), issuer)) for text in texts]


def check(*texts: str, kind: str = "good", name: str = MX, names: tuple[str, ...] = (MX,)) -> Verdict:
    return verify(records(*texts, kind=kind, name=name), presented(kind, name), names, NOW)


# kind of certificate, records, outcome, why
CASES = (
    ("good", ("3 1 1 leaf",), Match.MATCHES, "the normal case"),
    ("good", ("3 0 1 leaf",), Match.MATCHES, "the whole certificate"),
    ("good", ("3 1 2 leaf",), Match.MATCHES, "SHA-512"),
    ("good", ("3 1 0 leaf",), Match.MATCHES, "the key itself"),
    ("self-signed", ("3 1 1 leaf",), Match.MATCHES, "usage 3 asks no authority"),
    ("expired", ("3 1 1 leaf",), Match.MATCHES, "usage 3 knows no dates (3.1.1)"),
    ("other-name", ("3 1 1 leaf",), Match.MATCHES, "usage 3 knows no names (3.2.1)"),
    ("good", ("3 1 1 wrong",), Match.NO_MATCH, "a good certificate of the web does not rescue it"),
    ("good", ("3 1 1 wrong", "3 1 1 leaf"), Match.MATCHES, "one of two: rollover"),
    ("good", ("3 1 1 leaf", "3 1 2 wrong"), Match.NO_MATCH, "only the strongest digest counts (RFC 7671 9)"),
    ("good", ("3 1 1 wrong", "3 1 2 leaf"), Match.MATCHES, "the weaker one is not looked at"),
    ("good", ("3 1 1 issuer",), Match.NO_MATCH, "usage 3 means the server's own"),
    ("good", ("2 1 1 issuer",), Match.MATCHES, "a trust anchor in the chain"),
    ("good", ("2 0 1 issuer",), Match.MATCHES, "its whole certificate"),
    ("wrong-order", ("2 1 1 issuer",), Match.MATCHES, "whatever the order"),
    ("no-intermediate", ("2 1 1 issuer",), Match.NO_MATCH, "the anchor is not sent (3.1.2)"),
    ("no-intermediate", ("2 0 0 issuer",), Match.MATCHES, "the record holds the anchor itself"),
    ("untrusted", ("2 1 1 issuer",), Match.NO_MATCH, "another authority"),
    ("other-name", ("2 1 1 issuer",), Match.NAME, "names count with usage 2 (3.2.2)"),
    ("common-name", ("2 1 1 issuer",), Match.NAME, "as subject alternative names"),
    ("expired", ("2 1 1 issuer",), Match.EXPIRED, "dates count with usage 2"),
    ("not-yet-valid", ("2 1 1 issuer",), Match.EXPIRED, "both of them"),
    ("expired", ("2 1 1 issuer", "3 1 1 leaf"), Match.MATCHES, "usage 3 beside it"),
    ("good", ("0 1 1 issuer", "1 1 1 leaf"), Match.UNUSABLE, "usages of the web (3.1.3)"),
    ("good", ("3 1 9 00112233",), Match.UNUSABLE, "a type nobody knows"),
    ("good", (), Match.UNUSABLE, "no records"),
)


@pytest.mark.parametrize("kind, texts, match, why", CASES)
def test_a_chain_against_its_records(kind: str, texts: tuple[str, ...], match: Match, why: str) -> None:
    assert check(*texts, kind=kind).match is match, why


def test_the_domain_is_a_name_too_where_the_mx_records_are_secure() -> None:
    assert check("2 1 1 issuer", name=DOMAIN).match is Match.NAME
    assert check("2 1 1 issuer", name=DOMAIN, names=(MX, DOMAIN)).match is Match.MATCHES


def test_nothing_ends_with_usage_3() -> None:
    assert check("3 1 1 leaf").ends is None
    ends = check("2 1 1 issuer").ends
    assert ends is not None
    assert ends - NOW < timedelta(days=61)


def test_a_server_that_presents_nothing_matches_nothing() -> None:
    assert verify(records("3 1 1 leaf"), (), (MX,), NOW).match is Match.NO_MATCH


def test_a_combination_without_a_fitting_record_is_stale() -> None:
    published = records("3 1 1 leaf", "3 1 2 wrong", "2 1 1 issuer", "2 0 1 wrong")
    assert stale_combinations(published, presented()) == [(3, 1, 2), (2, 0, 1)]


def test_where_nothing_fits_nothing_is_called_stale() -> None:
    assert stale_combinations(records("3 1 1 wrong"), presented()) == []


def test_whole_data_is_always_looked_at() -> None:
    assert len(strongest(records("3 1 0 leaf", "3 1 1 leaf", "3 1 2 leaf"))) == 2


def test_an_issuer_of_the_same_name_with_another_key_is_none() -> None:
    leaf, issuer = presented()
    [forged] = presented("self-signed", name=MX)
    assert leaf.is_issued_by(issuer)
    assert not leaf.is_issued_by(forged)


# the shared vectors that are about a chain: kind of certificate, its name, records
VECTORS = {
    "dane-d01": ("good", MX, "3 1 1 leaf"),
    "dane-d02": ("expired", MX, "3 1 1 leaf"),
    "dane-d04": ("self-signed", MX, "3 1 1 leaf"),
    "dane-d05": ("good", MX, "3 1 1 wrong"),
    "dane-d07": ("good", MX, "2 1 1 issuer"),
    "dane-d08": ("good", DOMAIN, "2 1 1 issuer"),
    "dane-d10": ("other-name", MX, "2 1 1 issuer"),
    "dane-d11": ("no-intermediate", MX, "2 1 1 issuer"),
    "dane-d14": ("good", MX, "0 1 1 leaf"),
    "dane-d16": ("good", MX, "3 1 9 00112233"),
    "dane-d17": ("good", MX, "3 1 1 00112233"),
}
_ACTIONS = {
    "deliver-authenticated": {Match.MATCHES},
    "deliver-encrypted-unauthenticated": {Match.UNUSABLE},
    "skip-host": {Match.NO_MATCH, Match.NAME, Match.EXPIRED},
}


def test_shared_vectors() -> None:
    cases = {case["id"]: case["action"] for case in load_cases("dane-decisions.json")}
    for name, (kind, host, text) in VECTORS.items():
        outcome = check(text, kind=kind, name=host, names=(MX, DOMAIN)).match
        assert outcome in _ACTIONS[cases[name]], name


def test_a_chain_ends_before_bytes_that_are_no_certificate() -> None:
    good = chain("good", MX).certificates[0].public_bytes(Encoding.DER)
    assert read_chain([good, b"x" * 100_000, good]) == (read_certificate(good),)
    assert read_chain([b"\x30\x03abc", good]) == ()
