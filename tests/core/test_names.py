import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.vectors import load_cases

from mailward.core.names import InvalidName, is_address, matches_mx, parse_domain, parse_mx_pattern


@pytest.mark.parametrize(
    "text, expected, why",
    [
        ("example.com", "example.com", "as it is"),
        ("EXAMPLE.Com.", "example.com", "lower case, one final dot dropped"),
        ("bücher.example", "xn--bcher-kva.example", "U-label to A-label"),
        ("BÜCHER.example", "xn--bcher-kva.example", "mapped by UTS 46 first"),
        ("faß.example", "xn--fa-hia.example", "IDNA 2008 keeps the sharp s"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah", "other scripts"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah", "the ideographic full stop separates labels"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", "A-label stays"),
        ("r3---sn.example", "r3---sn.example", "hyphens in places 3 and 4 are LDH all the same"),
        ("1.2.3.4.example", "1.2.3.4.example", "digits are fine in labels"),
        ("a" * 63 + ".example", "a" * 63 + ".example", "longest label"),
    ],
)
def test_a_domain_is_read_into_one_form(text: str, expected: str, why: str) -> None:
    assert parse_domain(text) == expected, why


@pytest.mark.parametrize(
    "text, why",
    [
        ("", "empty"),
        (".", "root"),
        ("com", "one label"),
        ("example..com", "empty label"),
        (".example.com", "leading dot"),
        ("example.com..", "two final dots"),
        ("-a.example", "leading hyphen"),
        ("a-.example", "trailing hyphen"),
        ("a_b.example", "underscore"),
        ("a b.example", "space"),
        (" example.com", "white space around it is the form's business"),
        ("example.com\n", "line end"),
        ("192.0.2.1", "address"),
        ("mail.1", "no top-level domain is a number"),
        ("[192.0.2.1]", "address literal"),
        ("2001:db8::1", "address"),
        ("*.example.com", "pattern"),
        ("https://example.com", "URL"),
        ("user@example.com", "mail address"),
        ("a" * 64 + ".example", "label of 64"),
        (".".join(["a" * 49] * 5) + ".ab.cd", "254 characters"),
        ("ü" * 60 + ".example", "fits as U-label, not as A-label"),
        ("a" * 2000, "far too long"),
        ("\u0378.example", "unassigned code point"),
        ("a\u202e.example", "direction override"),
        ("\ud800.example", "lone surrogate"),
    ],
)
def test_what_is_no_domain_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidName):
        parse_domain(text)


def test_one_label_passes_where_it_is_asked_for() -> None:
    assert parse_domain("localhost", allow_single=True) == "localhost"


@given(st.text(max_size=300))
def test_any_text_gives_a_domain_or_the_one_error(text: str) -> None:
    try:
        name = parse_domain(text)
    except InvalidName:
        return
    assert parse_domain(name) == name


def test_p10_patterns_of_other_scripts_become_a_labels() -> None:
    assert parse_mx_pattern("*.bücher.example") == "*.xn--bcher-kva.example"
    assert parse_mx_pattern("Mail.Example.COM") == "mail.example.com"


@pytest.mark.parametrize(
    "text", ["*", "*.", "*.*.example.com", "mail.*.com", "*mail.example.com", ".example.com", "mx"]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        parse_mx_pattern(text)


@pytest.mark.parametrize(
    "pattern, host, expected, why",
    [
        ("mail.example.com", "mail.example.com", True, "equal"),
        ("mail.example.com", "MAIL.Example.com", True, "DNS names have no case"),
        ("Mail.Example.com", "mail.example.com", True, "nor have patterns"),
        ("mail.example.com", "mail.example.com.", True, "the final dot is notation"),
        ("mail.example.com", "mail.example.com..", False, "two dots are no name"),
        ("example.com", "mail.example.com", False, "a plain name is no suffix"),
        ("*.example.com", "mail.example.com", True, "one label"),
        ("*.example.com", "mail.example.com.", True, "one label and the final dot"),
        ("*.example.com", "example.com", False, "no label"),
        ("*.example.com", "a.b.example.com", False, "two labels"),
        ("*.example.com", "mailexample.com", False, "no dot"),
        ("*.example.com", ".example.com", False, "empty label"),
        ("*.example.com", "*.example.com", False, "an MX record has no wildcard host"),
        ("*.example.com", "mail.example.com.evil.example", False, "longer to the right"),
        ("*.example.com", "my_host.example.com", True, "hosts with underscores exist"),
        ("*.com", "example.com", True, "unwise, but the rule"),
        ("*.0.2.1", "192.0.2.1", False, "an address is no name"),
        ("192.0.2.1", "192.0.2.1", False, "not even its own"),
        ("*", "mail", False, "no pattern"),
        ("", "", False, "nothing"),
    ],
)
def test_s16_a_wildcard_is_exactly_one_left_most_label(
    pattern: str, host: str, expected: bool, why: str
) -> None:
    assert matches_mx(pattern, host) is expected, why


def test_s15_a_host_must_match_one_of_the_patterns() -> None:
    patterns = ("mail.example.com", "*.example.net")
    hosts = ("mail.example.com", "mx.example.net", "backup.example.com", "mx.example.net.evil.example")
    covered = [host for host in hosts if any(matches_mx(pattern, host) for pattern in patterns)]
    assert covered == ["mail.example.com", "mx.example.net"]


def test_s16_agrees_with_the_shared_vectors() -> None:
    for case in load_cases("mta-sts-mx-match.json"):
        assert matches_mx(case["pattern"], case["mx"]) is case["match"], case


ADDRESSES = st.ip_addresses().map(str) | st.text(alphabet="0123456789abcdef.:[]%x ٣", max_size=20)


@given(ADDRESSES)
def test_addresses_are_those_of_the_standard_library(text: str) -> None:
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        assert not is_address(text)
    else:
        assert is_address(text)
