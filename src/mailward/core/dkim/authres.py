"""What a relay of ours found out before it passed a mail on: Authentication-Results (RFC 8601).

Anybody can write such a field. Ours is the one that our relay has put on top of all others; a relay must
remove those that came with our name from outside (RFC 8601 section 5), but this does not depend on it: only
the topmost counts.
"""

import re
from collections.abc import Collection, Iterator

from mailward.core.dkim.message import Malformed, Message, from_domain, split_message
from mailward.core.dkim.signature import is_aligned

_MAX_FIELD_BYTES = 16 * 1024
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s;="]+|[;=]', re.DOTALL)


def vouched_domain(raw: bytes | Message, authserv_ids: Collection[str]) -> str | None:
    """The domain aligned with From whose DKIM signature the topmost Authentication-Results calls good.

    None where that field is not one of `authserv_ids`, or says nothing of the kind.
    """
    try:
        message = raw if isinstance(raw, Message) else split_message(raw)
    except Malformed:
        return None
    fields = message.all(b"authentication-results")
    if not fields or len(fields[0].value) > _MAX_FIELD_BYTES:
        return None
    author = from_domain(message)
    statements = list(_statements(fields[0].value.decode("latin-1")))
    # the authserv-id may be followed by a version
    if not statements or _id(statements[0]) not in {name.lower() for name in authserv_ids}:
        return None
    for words in statements[1:]:
        domain = _passed(words)
        if domain and is_aligned(domain, author):
            return domain
    return None


def _id(words: list[str]) -> str:
    return words[0].lower() if words else ""


def _passed(words: list[str]) -> str | None:
    """The domain of a `dkim=pass` statement: header.d, or the one in header.i."""
    properties = _properties(words)
    if properties.get("dkim", "").lower() != "pass" or words[0].lower() != "dkim":
        return None
    domain = properties.get("header.d") or properties.get("header.i", "").rpartition("@")[2]
    return domain.lower() or None


def _properties(words: list[str]) -> dict[str, str]:
    """The statement as names with values; empty where it is anything but a list of them, each once.

    Much of it was written by the stranger whose signature it is about: tag i may hold "=" and comments
    (RFC 6376 §3.5), and a relay that repeats it as it came would let him add a header.d of his choice.
    """
    names, signs, values = words[::3], words[1::3], words[2::3]
    if len(names) != len(values) or any(sign != "=" for sign in signs) or "=" in (*names, *values):
        return {}
    properties = dict(zip((name.lower() for name in names), values, strict=True))
    return properties if len(properties) == len(names) else {}


def _statements(text: str) -> Iterator[list[str]]:
    """The words between semicolons, without comments; quotes are taken off."""
    words: list[str] = []
    for word in _TOKEN.findall(_without_comments(text)):
        if word == ";":
            yield words
            words = []
        else:
            words.append(word[1:-1].replace("\\", "") if word.startswith('"') else word)
    yield words


def _without_comments(text: str) -> str:
    kept: list[str] = []
    depth, quoted, escaped = 0, False, False
    for character in text:
        if escaped:
            escaped = False
            if depth:
                continue
        elif character == "\\":
            escaped = True
            if depth:
                continue
        elif character == '"' and not depth:
            quoted = not quoted
        elif character == "(" and not quoted:
            depth += 1
            continue
        elif character == ")" and depth:
            depth -= 1
            kept.append(" ")
            continue
        if not depth:
            kept.append(character)
    return "".join(kept)
