"""A domain as somebody typed it."""

from mailward.core.names import Domain, InvalidName, parse_domain


def read_domain(text: str) -> Domain:
    """The domain, and what it probably is where an address or a URL was given. Raises InvalidName."""
    if not {"/", "@"} & set(text):
        return parse_domain(text)
    host = text.rpartition("@")[2].partition("://")[2] or text.rpartition("@")[2]
    try:
        guess = parse_domain(host.partition("/")[0].partition(":")[0])
    except InvalidName as error:
        raise InvalidName(f"{text[:60]!r} is no domain name") from error
    raise InvalidName(f"{text[:60]!r} is no domain name: did you mean {guess}?")
