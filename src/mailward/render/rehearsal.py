"""What a supposed policy would have done to reported sessions, as lines for a terminal."""

from collections.abc import Iterator

from mailward.core.check.rehearsal import Rehearsed, Row
from mailward.core.explain.catalogue import EXPLANATIONS
from mailward.core.mtasts.policy import Mode
from mailward.render.visible import make_visible

_MAX_ROWS = 20
_MAX_NAME = 60


def render_rehearsal(rehearsed: Rehearsed) -> Iterator[str]:
    """Not yet made safe for a terminal but for the names of strangers, which are cut short."""
    if not rehearsed.reports:
        yield "  None of the reports is about this domain."
        return
    days = dict.fromkeys(str(day) for day in (rehearsed.first, rehearsed.last) if day)
    span = " to ".join(days) or "days unknown"
    number = f"{rehearsed.reports:,} report{'s' if rehearsed.reports > 1 else ''} ({span})"
    if not rehearsed.refused:
        yield f"  Of the sessions in {number}, none that is named would be refused."
    elif rehearsed.mode is Mode.ENFORCE:
        yield f"  Of the sessions in {number}, {rehearsed.refused_sessions:,} would be refused:"
    else:
        yield f"  Of the sessions in {number}, none would be refused; under `enforce`, {rehearsed.refused_sessions:,}:"
    yield from _rows(rehearsed.refused)
    if rehearsed.passing:
        yield "  Failed then, and would not: the policy covers the MX host."
        yield from _rows(rehearsed.passing)
    if rehearsed.successful:
        yield f"  Successful under the policy of then: {rehearsed.successful:,}; to which MX hosts, reports do not say."
    if rehearsed.unverified:
        yield f"  Successful without a policy: {rehearsed.unverified:,}; nobody looked at the certificates."


def _rows(rows: tuple[Row, ...]) -> Iterator[str]:
    for row in rows[:_MAX_ROWS]:
        sender, mx = (
            make_visible(text)[:_MAX_NAME] for text in (row.sender, row.mx or "an MX host not named")
        )
        entry = EXPLANATIONS.get(row.code)
        title = entry.title if entry is not None else row.code
        yield f"    {row.sessions:>7,}  {sender}, {mx}: {title} [{row.code}]"
    if len(rows) > _MAX_ROWS:
        yield f"             and {len(rows) - _MAX_ROWS} rows more (--json has all)"
