import pytest

from mailward.core.addresses import parse_address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("bob@example.net", "bob@example.net"),
        ("Bob.O'Neil+tls@Example.NET", "Bob.O'Neil+tls@example.net"),  # a local part's case is its owner's
        ("bob@münchen.test", "bob@xn--mnchen-3ya.test"),  # IDNA
        ("root@localhost", "root@localhost"),
    ],
)
def test_addresses_are_written_as_mail_servers_take_them(address: str, expected: str) -> None:
    assert parse_address(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        "",
        "bob",
        "@example.net",
        "bob@",
        "bob..x@example.net",  # no dot-string
        '"bob x"@example.net',
        "bób@example.net",  # SMTPUTF8
        "bob@example.net\r\nBcc: eve@example.net",
        "bob@example.net, eve@example.net",
        "b" * 65 + "@example.net",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the name's own error is one too
        parse_address(address)
