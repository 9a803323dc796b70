"""docs/check-compared.md: its tables, from what bench.check_zoo has taken."""

import os
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.checkdmarc_claims import Claim, area_of, claims_of
from tests.zoo.rows import Row

PAGE = Path(__file__).resolve().parent.parent / "docs/check-compared.md"
KINDS = {
    "a": "sound, or nothing there",
    "t": "record `_mta-sts`",
    "h": "policy host",
    "p": "policy text",
    "c": "MX hosts covered",
    "m": "MX hosts and their TLS",
    "d": "DANE",
    "r": "reports",
}
MAX_TEXT = 100
Taken = dict[str, dict[str, list[tuple[float, float, dict[str, Any]]]]]
"""By checker and row, in each round: seconds, seconds of the processor, what was said."""
_NO_MAIL = {"mx-null", "mx-null-misused"}
_ABSENT = {"sts-absent", "tlsrpt-missing"}


@dataclass(frozen=True)
class Judged:
    row: Row
    ours_named: frozenset[str]
    ours_false: frozenset[str]
    named: frozenset[str]
    less: frozenset[str]
    """It says something of that part, and another or no cause."""
    false: tuple[Claim, ...]
    """Sentences about a part where nothing is wrong."""

    @property
    def expected(self) -> dict[str, str]:
        return dict(pair.split(" ") for pair in self.row.expect)


def judge(row: Row, ours: dict[str, Any], theirs: dict[str, Any]) -> Judged:
    codes = {pair.partition(" ")[0] for pair in row.expect}
    told = {finding["code"] for finding in ours["findings"]}
    claims = [claim for claim in claims_of(theirs) if claim.area]
    named = {code for code in codes if any(code in claim.codes for claim in claims)}
    idle = [claim for claim in claims if not claim.codes & codes]
    if codes & _NO_MAIL:  # whoever says there that a record is absent is not wrong
        idle = [claim for claim in idle if not claim.codes & _ABSENT]
    less = {code for code in codes - named if any(claim.area == area_of(code) for claim in idle)}
    areas = {area_of(code) for code in codes}
    false = tuple(claim for claim in idle if claim.area not in areas)
    return Judged(
        row,
        frozenset(codes & told),
        frozenset(told - codes),
        frozenset(named),
        frozenset(less),
        false,
    )


def write(rows: Sequence[Row], taken: Taken) -> None:
    """Between the marks of the page."""
    judged = [judge(row, taken["ours"][row.label][0][2], taken["theirs"][row.label][0][2]) for row in rows]
    parts = {
        "sums": _sums(judged),
        "times": _times(taken),
        "rows": _rows(judged, taken),
    }
    text = PAGE.read_text()
    for name, lines in parts.items():
        mark = f"<!-- {name}: written by bench/run check-zoo --write -->"
        before, _, rest = text.partition(mark)
        _, _, after = rest.partition("<!-- end -->")
        text = f"{before}{mark}\n\n" + "\n".join(lines) + f"\n\n<!-- end -->{after}"
    PAGE.write_text(text)


def _sums(judged: Sequence[Judged]) -> Iterator[str]:
    yield "| part | rows | faults | ours | false | checkdmarc names | says less | misses | false |"
    yield "|---|---|---|---|---|---|---|---|---|"
    total: Counter[str] = Counter()
    for letter, name in KINDS.items():
        group = [each for each in judged if each.row.label[0] == letter]
        counts = _count(group, with_notices=False)
        total += counts
        yield _sum_line(name, counts)
    yield _sum_line("**all**", total)
    yield _sum_line("notices, in all rows", _count(judged, with_notices=True) - total)


def _count(judged: Iterable[Judged], *, with_notices: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    for each in judged:
        codes = {code for code, weight in each.expected.items() if with_notices or weight != "notice"}
        counts["rows"] += 1
        counts["faults"] += len(codes)
        counts["ours"] += len(codes & each.ours_named)
        counts["ours-false"] += len(each.ours_false)
        counts["named"] += len(codes & each.named)
        counts["less"] += len(codes & each.less)
        counts["missed"] += len(codes - each.named - each.less)
        counts["false"] += len(each.false)
    return counts


def _sum_line(name: str, counts: Counter[str]) -> str:
    columns = ("rows", "faults", "ours", "ours-false", "named", "less", "missed", "false")
    return f"| {name} | " + " | ".join(str(counts[column]) for column in columns) + " |"


def _times(taken: Taken) -> Iterator[str]:
    rounds = len(next(iter(taken["ours"].values())))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load} at the end"
    yield f"{rounds} rounds, {len(taken['ours'])} domains; {machine}."
    yield ""
    yield "| seconds a domain | median | 90 % are below | longest | all domains | processor, median |"
    yield "|---|---|---|---|---|---|"
    for name, label in (("ours", "`mailward check`"), ("theirs", "checkdmarc")):
        each = [median(answer[0] for answer in answers) for answers in taken[name].values()]
        cpu = median(median(answer[1] for answer in answers) for answers in taken[name].values())
        high = quantiles(each, n=10)[-1] if len(each) > 1 else each[0]
        figures = f"{median(each):.3f} | {high:.2f} | {max(each):.1f} | {sum(each):.0f} | {cpu:.3f}"
        yield f"| {label} | {figures} |"


def _rows(judged: Iterable[Judged], taken: Taken) -> Iterator[str]:
    yield "| row | faults | checkdmarc | what it says |"
    yield "|---|---|---|---|"
    for each in judged:
        yield _row(each, taken["theirs"][each.row.label][0][2])


def _row(each: Judged, theirs: dict[str, Any]) -> str:
    verdicts = [_verdict(each, code) for code in sorted(each.expected)]
    verdicts += ["**says falsely**"] * bool(each.false)
    said = [_short(claim.text) for claim in claims_of(theirs) if _is_worth_showing(claim)]
    codes = ", ".join(f"`{code}`" for code in sorted(each.expected)) or "nothing"
    return f"| {each.row.label} | {codes} | {', '.join(verdicts) or '–'} | {'; '.join(said) or '–'} |"


def _verdict(each: Judged, code: str) -> str:
    return "names" if code in each.named else "says less" if code in each.less else "misses"


def _is_worth_showing(claim: Claim) -> bool:
    return "reverse DNS" not in claim.text and "port 465" not in claim.text


def _short(text: str) -> str:
    """As it stands in a cell of a table: the cause, which Python's libraries put at the end."""
    caused = re.search(r"Caused by (.*)", text)
    words = " ".join((caused[1] if caused else text).split()).replace("|", "\\|").replace("<", "&lt;")
    if "verify failed: " in words:
        words = words.partition("verify failed: ")[2].partition(" (_ssl.c")[0]
    return words[:MAX_TEXT] + ("…" if len(words) > MAX_TEXT else "")
