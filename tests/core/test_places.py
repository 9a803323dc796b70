import pytest

from mailward.core.places import parse_place

GOOD = [
    ("192.0.2.1", 53, ("192.0.2.1", 53)),
    ("192.0.2.1:5353", 53, ("192.0.2.1", 5353)),
    ("2001:db8::1", 53, ("2001:db8::1", 53)),
    ("[2001:db8::1]", 53, ("2001:db8::1", 53)),
    ("[2001:db8::1]:5353", 53, ("2001:db8::1", 5353)),
    ("127.0.0.1:0", None, ("127.0.0.1", 0)),
]
BAD = [
    ("localhost", 53),
    ("192.0.2.1:", 53),
    ("192.0.2.1:0", 53),
    ("192.0.2.1:65536", 53),
    ("192.0.2.1:-1", None),
    ("192.0.2.1", None),
    ("2001:db8::1", None),
    ("", 53),
    ("x" * 5000, 53),
]


@pytest.mark.parametrize(("text", "default", "place"), GOOD)
def test_places_as_settings_say_them(text: str, default: int | None, place: tuple[str, int]) -> None:
    assert parse_place(text, default) == place


@pytest.mark.parametrize(("text", "default"), BAD)
def test_what_is_none_is_named_in_a_sentence(text: str, default: int | None) -> None:
    with pytest.raises(
        ValueError, match=r"^'.*' is no server: it must be (an IP address, or )?address:port$"
    ):
        parse_place(text, default)
