"""Who registered the name of a host."""

import pytest

from mailward.core.suffixes import Suffixes

LIST = (
    "// ===BEGIN ICANN DOMAINS===",
    "com",
    "uk",
    "co.uk",
    "*.ck",
    "!www.ck",
    "公司.cn",
    "// ===BEGIN PRIVATE DOMAINS===",
    "github.io",
)


@pytest.mark.parametrize(
    ("host", "registered"),
    [
        ("mx1.mail.example.com", "example.com"),
        ("example.com", "example.com"),
        ("com", "com"),
        ("mx.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("mx.example.other.ck", "example.other.ck"),
        ("mx.www.ck", "www.ck"),
        ("mx.example.xn--55qx5d.cn", "example.xn--55qx5d.cn"),
        ("mx.example.unknown", "example.unknown"),
        ("me.github.io", "github.io"),  # the private part does not count
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_the_registered_domain_is_one_label_below_the_public_suffix(host: str, registered: str) -> None:
    assert Suffixes(LIST).registered_domain(host) == registered


@pytest.mark.parametrize(
    ("host", "registered"),
    [("mx.example.com", "example.com"), ("mx.example.co.uk", "example.co.uk"), ("mx.co.uk", "mx.co.uk")],
)
def test_without_the_list_it_is_guessed(host: str, registered: str) -> None:
    guessing = Suffixes()
    assert not guessing.is_complete
    assert guessing.registered_domain(host) == registered
