"""The fault classes of standards.md section 4, in few words; which rows show each, and why some have none.

A row shows the classes that its `fault` begins with: `m5: ...`, or `m5, m14: ...`. README.md beside this is
written from it: `python -m tests.zoo.classes`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.zoo.rows import Row, read_rows

PAGE = Path(__file__).with_name("README.md")
CLASSES = {
    "t": (
        "none while a policy exists",
        "two records",
        "wrong version or case",
        "bad or over-long id",
        "no id",
        "at the apex or the `mta-sts` label",
        "SPF or other text by wildcard",
        "CNAME to nothing",
        "CNAME beside TXT",
        "pasted quotes",
        "id not changed with the policy",
        "id changed without the policy",
        "SERVFAIL, time-out",
        "DNSSEC bogus",
    ),
    "h": (
        "no address",
        "refused, time-out",
        "one address or family broken",
        "certificate expired",
        "wrong name",
        "self-signed, untrusted",
        "missing intermediate",
        "default site",
        "TLS 1.1 and older only",
        "redirect",
        "404, 403, 5xx",
        "wrong path",
        "HTML page",
        "media type",
        "too large, endless",
        "filter by user agent",
        "CAA forbids the issuer",
        "dangling CNAME",
        "expiry near",
        "different bodies",
    ),
    "p": (
        "no version, mode or max_age",
        "enforce without mx",
        "bad mode or case",
        "max_age too large, no number",
        "commas or spaces in mx",
        "address, URL, U-label ... as mx",
        "blank lines, BOM, comments",
        "duplicates",
        "old draft forms",
        "max_age under a day",
        "testing",
        "none",
    ),
    "c": (
        "MX not in the policy",
        "a backup MX missing",
        "wildcard one label short",
        "provider changed, policy not",
        "pattern covers nothing",
        "over-wide pattern",
        "pattern in a domain that is free",
    ),
    "m": (
        "no STARTTLS",
        "offered, then refused",
        "handshake fails",
        "TLS 1.1 and older",
        "expired",
        "not yet valid",
        "wrong name",
        "common name only",
        "self-signed",
        "untrusted authority",
        "missing link",
        "wrong order",
        "weak key or signature",
        "addresses differ",
        "IPv6 dead",
        "SNI needed or refused",
        "command injection",
        "greylisting, tarpit, refusal",
        "MX is an alias, address, unresolvable ...",
        "expiry near",
    ),
    "d": (
        "TLSA does not fit",
        "renewal changed the key",
        "stale second combination",
        "usage 0 or 1 only",
        "anchor not in the chain",
        "anchor fits, name or date does not",
        "issuing intermediate replaced",
        "malformed, unknown type",
        "TLSA in an unsigned zone",
        "MX records unsigned",
        "bogus signatures",
        "server fails on TLSA",
        "some MX without TLSA",
        "TLSA at a wrong name or port",
        "TLSA and no STARTTLS",
    ),
    "r": (
        "none though a policy exists",
        "two records",
        "syntax",
        "DMARC's text or size",
        "http:",
        "mail domain takes no mail",
        "HTTPS target dead",
        "CNAME to a provider who does not know the domain",
        "mailbox in the same broken domain",
    ),
    "l": (
        "removed without `none`",
        "record changed before the body",
        "one of record, body, MX changed alone",
        "old copies block a migration",
    ),
}
"""In their order: the first of `t` is t1."""
_OVER_TIME = "shows only between two checks; tests/zoo/days has it, with real servers"
WITHOUT_ROW = {
    "t9": "NSD refuses a zone with a CNAME beside other data, and unbound never shows both",
    "t11": _OVER_TIME,
    "t12": _OVER_TIME,
    **dict.fromkeys(("l1", "l2", "l3", "l4"), _OVER_TIME),
}
_HEAD = """\
# The zoo: broken domains with real servers

Each row is a directory: what differs from a sound domain, and all that a check must find. NSD and unbound serve the
DNS, nginx the policies; the MX hosts are Postfix, Exim and OpenSMTPD. `make test` runs the rows marked `is_daily`,
`make test-all` every row. docs/check-compared.md shows two checkers before them.

{built} of {classes} classes are shown by {rows} rows; {sound} more rows have no fault, so that a check must stay
silent, or nothing at all, so that it must say what is missing.

<!-- written by `python -m tests.zoo.classes`: do not edit -->

| class | fault | rows |
|---|---|---|
"""
_SHOWN = re.compile(r"[a-z]\d+(?:, [a-z]\d+)*(?=:)")


def classes() -> dict[str, str]:
    """Those of the standards."""
    return {
        f"{letter}{at}": words for letter, names in CLASSES.items() for at, words in enumerate(names, start=1)
    }


def shown_by(row: Row) -> tuple[str, ...]:
    """Empty: nothing is wrong in it."""
    found = _SHOWN.match(row.fault)
    return tuple(found[0].split(", ")) if found else ()


def page(rows: Sequence[Row]) -> str:
    built = {each for row in rows for each in shown_by(row)}
    sound = sum(not shown_by(row) for row in rows)
    lines = _HEAD.format(
        built=len(built), classes=len(classes()), rows=len(rows) - sound, sound=sound
    ).splitlines()
    for code, words in classes().items():
        labels = [row.label for row in rows if code in shown_by(row)]
        lines.append(f"| {code} | {words} | {', '.join(labels) or f'none: {WITHOUT_ROW[code]}'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(read_rows()))
