"""Which form a list has, and the rows of a CSV file."""

import csv
import io
from collections.abc import Iterable, Iterator

from mailward.core.importing.listing import MAX_REFUSED, Listing, Refused, Unreadable, Wish
from mailward.core.mtasts.policy import Mode, Policy, PolicyInvalid, serialise_policy
from mailward.core.names import Domain, InvalidName, parse_domain, parse_mx_pattern
from mailward.core.rollout.conditions import DEFAULT_HOLD_DAYS, MAX_HOLD_DAYS

MAX_BYTES = 20 * 1024 * 1024
MAX_ROWS = 100_000
DEFAULT_MAX_AGE = 86_400
_COLUMNS = ("domain", "mx", "mode", "max_age", "automatic", "extensions")
_SHOWN = 100
Row = Wish | Refused


def read_text(content: bytes) -> str:
    """Raises Unreadable."""
    if len(content) > MAX_BYTES:
        raise Unreadable(f"it is larger than {MAX_BYTES >> 20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8 text") from None
    if "\0" in text:
        raise Unreadable("it is not text")
    return text


def gather(rows: Iterable[Row]) -> Listing:
    """Each domain once. Raises Unreadable for more than MAX_ROWS."""
    wishes: dict[Domain, Wish] = {}
    refused: list[Refused] = []
    more = 0
    for count, row in enumerate(rows, 1):
        if count > MAX_ROWS:
            raise Unreadable(f"it has more than {MAX_ROWS:,} rows")
        if isinstance(row, Wish) and row.name in wishes:
            row = Refused(row.where, row.name, f"the same domain as in {wishes[row.name].where}")
        if isinstance(row, Wish):
            wishes[row.name] = row
        elif len(refused) < MAX_REFUSED:
            refused.append(row)
        else:
            more += 1
    return Listing(tuple(wishes.values()), tuple(refused), more)


def is_zone(text: str, name: str) -> bool:
    """By the name of the file, or by what stands at its beginning."""
    if name.lower().endswith((".zone", ".db")):
        return True
    head = text[:4096].upper().split()
    return "$ORIGIN" in head or "SOA" in head


def read_csv(text: str) -> Iterator[Row]:
    """RFC 4180, comma or semicolon; with a header that names the columns, or the domain in the first one."""
    delimiter = ";" if text[:1000].count(";") > text[:1000].count(",") else ","
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    columns: dict[str, int] = {"domain": 0}
    try:
        for number, cells in enumerate(reader, 1):
            cells = [cell.strip() for cell in cells]
            if not any(cells) or cells[0].startswith("#"):
                continue
            lowered = [cell.lower() for cell in cells]
            if number == 1 and "domain" in lowered:
                columns = {each: lowered.index(each) for each in _COLUMNS if each in lowered}
                continue
            yield _read_row(cells, columns, f"line {reader.line_num}")
    except csv.Error as error:
        raise Unreadable(f"line {reader.line_num}: {error}") from error


def _read_row(cells: list[str], columns: dict[str, int], where: str) -> Row:
    values = {key: cells[index] for key, index in columns.items() if index < len(cells)}
    text = values.get("domain", "")
    try:
        name = parse_domain(text)
        mx = tuple(dict.fromkeys(parse_mx_pattern(each) for each in values.get("mx", "").split()))
        policy = _wanted_policy(values, mx)
        return Wish(name, where, mx, policy, _automatic_days(values.get("automatic", "").lower()))
    except (InvalidName, ValueError) as error:
        return Refused(where, text[:_SHOWN], str(error))


def _wanted_policy(values: dict[str, str], mx: tuple[str, ...]) -> Policy | None:
    """Raises ValueError. A mode needs the MX hosts beside it: whose policy it is, nobody may guess."""
    mode, max_age = values.get("mode", "").lower(), values.get("max_age", "")
    extensions = _read_extensions(values.get("extensions", ""))
    if not mode and not max_age and not extensions:
        return None
    if mode and mode not in set(Mode):
        raise ValueError(f"mode {mode[:20]!r} is not testing, enforce or none")
    if max_age and not (max_age.isascii() and max_age.isdigit() and len(max_age) < 12):
        raise ValueError(f"max_age {max_age[:20]!r} is not a number of seconds")
    if not mx and mode != Mode.NONE:
        raise ValueError("a mode, max_age or extensions need the mx column")
    hosts = () if mode == Mode.NONE else mx
    policy = Policy(Mode(mode or Mode.TESTING), int(max_age or DEFAULT_MAX_AGE), hosts, extensions)
    try:
        serialise_policy(policy)
    except PolicyInvalid as error:
        raise ValueError("; ".join(str(problem) for problem in error.problems[:3])) from error
    return policy


def _read_extensions(text: str) -> tuple[tuple[str, str], ...]:
    """As in a policy, one field a line, since a value may hold any other separator (RFC 8461 section 3.2).

    Raises ValueError.
    """
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not name or not value:
            raise ValueError(f"extensions: {line[:40]!r} is not a name, a colon and a value")
        if name in ("version", "mode", "max_age", "mx") or name in found:
            raise ValueError(f"extensions: {name[:40]!r} is a field of the policy already")
        found[name] = value
    return tuple(found.items())


def _automatic_days(text: str) -> int | None:
    """Raises ValueError."""
    if text in ("", "no", "yes"):
        return {"": None, "no": 0, "yes": DEFAULT_HOLD_DAYS}[text]
    if not (text.isascii() and text.isdigit() and len(text) < 5 and int(text) <= MAX_HOLD_DAYS):
        raise ValueError(f"automatic {text[:20]!r} is not yes, no or a number of days up to {MAX_HOLD_DAYS}")
    return int(text)


def read_mx(name: str, hosts: Iterable[str], where: str) -> Row:
    """A domain and the hosts of its MX records, in the order of preference."""
    hosts = [host for host in hosts if host not in ("", ".", "@")]
    try:
        domain = parse_domain(name)
        mx = tuple(dict.fromkeys(str(parse_domain(host)) for host in hosts))
    except InvalidName as error:
        return Refused(where[:_SHOWN], name[:_SHOWN], str(error))
    if not mx:
        return Refused(where[:_SHOWN], name[:_SHOWN], "it takes no mail (RFC 7505)")
    return Wish(domain, where[:_SHOWN], mx)
