"""A document in the terminal: at 80 columns, with colours or, when piped, without.

Every string goes through `make_visible` into a Text: what strangers wrote is neither markup nor an escape
sequence. A long command is broken with backslashes, so that it can be copied as it stands.
"""

import re
from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from mailward.core.explain.catalogue import Explanation, Severity
from mailward.core.tlsrpt.deviations import Level
from mailward.core.tlsrpt.document import DeviationNote, Document, Failure, PolicySection, Source
from mailward.core.tlsrpt.failures import sum_counts
from mailward.core.tlsrpt.sentences import say_count
from mailward.render.visible import make_visible
from mailward.render.wording import name_state, say_failed, split_code

_STYLES = {
    "encrypted": "bold green",
    Severity.CRITICAL.value: "bold red",
    Severity.WARNING.value: "bold yellow",
    Severity.NOTICE.value: "bold blue",
    "unknown": "bold",
    "foreign": "bold",
}
_LONG_COMMAND = 40
_MAX_SOURCES = 5
_COMMAND_JOINT = re.compile(r" (?=-|\||<)")


def print_document(document: Document, console: Console, *, name: str = "") -> None:
    """The whole document, then one empty line. `name`, the file it came in, stands above it."""
    page = _Page(console)
    if name:
        page.text(_plain(f"── {name}", "dim"))
    state = name_state(document)
    page.text(_badge(state).append(" ").append(make_visible(document.verdict), "bold"))
    page.gap()
    for sentence in document.sentences:
        page.text(_plain(sentence))
    page.facts([("Contact", document.contact or ""), ("Report-ID", document.report_id or "")])
    for section in document.policies:
        _print_policy(section, page)
    if document.foreign:
        page.gap()
        page.text(_plain("About other domains, counted nowhere:", "bold"))
        for section in document.foreign:
            _print_policy(section, page)
    if document.policies_left_out:
        page.text(_plain(f"{say_count(document.policies_left_out, 'more policy')} left out.", "italic"))
    _print_deviations(document.deviations, page)
    page.gap()


class Overview:
    """One line for each report, in columns that fit the console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._widths = _share_out(console.width)

    def print_head(self) -> None:
        self._print(("Day", "Reporter", "About", "Encrypted", "Failed", "State"), "bold")

    def print_row(self, document: Document) -> None:
        state = name_state(document)
        day = _shorten_period(document.period)
        ok, failed = count_sessions(document)
        self._print((day, document.reporter, document.about, ok, failed, state), "", _STYLES[state])

    def _print(self, cells: Iterable[str], style: str, last_style: str = "") -> None:
        line = Text(no_wrap=True, style=style)
        columns = list(zip(cells, self._widths, strict=True))
        for at, (cell, width) in enumerate(columns):
            is_number = at in (3, 4)
            line.append(
                _fit(make_visible(cell), width, is_number), last_style if at == len(columns) - 1 else ""
            )
            line.append("  " if at < len(columns) - 1 else "")
        line.rstrip()
        self._console.print(line, highlight=False, crop=False, overflow="ignore")


def count_sessions(document: Document) -> tuple[str, str]:
    """Encrypted and failed, of the policy type with the most sessions: types are never added up."""
    by_type: dict[str | None, list[PolicySection]] = {}
    for section in document.policies:
        by_type.setdefault(section.policy_type, []).append(section)
    counts = [
        (sum_counts([each.ok for each in sections]), sum_counts([each.failed for each in sections]))
        for sections in by_type.values()
    ]
    ok, failed = max(counts, key=lambda pair: (pair[0] or 0) + (pair[1] or 0), default=(None, None))
    return ("?" if ok is None else f"{ok:,}"), ("?" if failed is None else f"{failed:,}")


def _shorten_period(period: str) -> str:
    """The day; with a plus sign, the first of several."""
    word, *rest = period.split()
    if word == "at":
        return "not said"
    return " ".join(rest) if word == "on" else " ".join([*rest[:3], "+"])


class _Page:
    def __init__(self, console: Console) -> None:
        self._console = console

    def text(self, text: Text, indent: int = 0, hang: int = 0) -> None:
        """`hang`: how much further in the second line and those behind it begin."""
        for at, line in enumerate(text.wrap(self._console, max(self.width - indent - hang, 20))):
            line.rstrip()
            if at == 1:
                indent += hang
            self._console.print(Text(" " * indent).append_text(line), highlight=False, soft_wrap=True)

    def raw(self, text: Text) -> None:
        """As it is: the terminal may break it, the copied text stays whole."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def gap(self) -> None:
        self._console.print()

    def facts(self, facts: Iterable[tuple[str, str]], indent: int = 0) -> None:
        known = [(name, value) for name, value in facts if value]
        width = max((len(name) for name, _ in known), default=0) + 2
        for name, value in known:
            hanging = Text(make_visible(value)).wrap(self._console, max(self.width - indent - width, 20))
            for at, line in enumerate(hanging):
                self.text(
                    Text((name if at == 0 else "").ljust(width), "dim").append(line.plain, "not dim"), indent
                )

    @property
    def width(self) -> int:
        return self._console.width


def _print_policy(section: PolicySection, page: _Page) -> None:
    page.gap()
    title = _plain(section.title, "bold underline")
    if section.mode:
        title.append(f"  mode: {make_visible(section.mode)}", "not bold not underline dim")
    page.text(title)
    page.text(
        _plain(f"{section.sentence} {section.share} encrypted." if section.share else section.sentence), 2
    )
    for note in section.notes:
        page.text(_plain(note, "italic"), 2)
    for line in section.lines:
        page.text(_plain(f"│ {line}", "dim"), 2)
    for failure in section.failures:
        _print_failure(failure, page)
    if section.failures_left_out:
        page.gap()
        page.text(_plain(f"{say_count(section.failures_left_out, 'smaller failure')} left out.", "italic"), 2)


def _print_failure(failure: Failure, page: _Page) -> None:
    explanation = failure.explanation
    page.gap()
    host = f": {make_visible(failure.host)}" if failure.host else ""
    page.text(_badge(explanation.severity).append(f" {explanation.title}{host}", "bold"), 2)
    page.text(_prose(explanation.meaning), 4)
    if failure.consequence:
        page.text(_prose(failure.consequence), 4)
    page.facts(
        [
            ("Failed sessions", say_failed(failure)),
            *_say_sources(failure),
            (failure.host_kind, ", ".join(filter(None, (failure.host, *failure.addresses)))),
            ("Its greeting", ", ".join(failure.helos)),
            ("Result type", failure.result_type or "not given"),
            ("Reason code", "; ".join(failure.reasons)),
            ("More", ", ".join(each.text for each in failure.information)),
        ],
        4,
    )
    _print_advice(explanation, page)


def _print_advice(explanation: Explanation, page: _Page) -> None:
    page.text(_plain("What to do", "bold"), 4)
    for number, step in enumerate(explanation.steps, 1):
        _print_step(number, step, page)
    if explanation.attack:
        page.text(_prose("Fault or attack? " + explanation.attack), 4)
    page.text(_plain(explanation.section, "dim"), 4)


def _print_step(number: int, step: str, page: _Page) -> None:
    lead = f"{number}. "
    prose = Text()
    for piece, is_code in split_code(step):
        if not is_code or len(piece) < _LONG_COMMAND:
            prose.append(make_visible(piece), "cyan" if is_code else "")
            continue
        _print_hanging(lead, prose, page)
        for line in _break_command(make_visible(piece), page.width - 8):
            page.raw(Text(" " * 8 + line, "cyan"))
        lead, prose = "   ", Text()
    _print_hanging(lead, prose, page)


def _print_hanging(lead: str, text: Text, page: _Page) -> None:
    # what follows a command on a line of its own begins without its comma or colon
    words = text.plain.lstrip(" ;,.")
    if not words:
        return
    text = text[len(text.plain) - len(words) :]
    text.rstrip()
    for at, line in enumerate(text.wrap(Console(width=page.width), page.width - 4 - len(lead))):
        page.text(Text(lead if at == 0 else " " * len(lead)).append_text(line), 4)


def _break_command(command: str, width: int) -> list[str]:
    """Lines of at most `width`, where a shell allows it: before an option, a pipe or a redirection."""
    lines = [""]
    for word in _COMMAND_JOINT.split(command):
        if lines[-1] and len(lines[-1]) + len(word) + 3 > width:
            lines[-1] += " \\"
            lines.append("  " + word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _print_deviations(notes: Iterable[DeviationNote], page: _Page) -> None:
    for at, note in enumerate(notes):
        if at == 0:
            page.gap()
            page.text(_plain("How this report differs from RFC 8460", "bold underline"))
        hang = len(f"{Level.NOTICE.value} ")
        text = _plain(f"{note.level.value.ljust(hang)}{note.text} ")
        page.text(text.append(f"{note.section} · {note.slug}", "dim"), 2, hang)
        place = next((place for place in note.places if place), "")
        more = f" and {note.count - 1:,} more" if note.count > 1 else ""
        found = f"{place}{more}: {note.value}" if note.value else f"{place}{more}"
        if found:
            page.text(_plain(found, "dim"), 2 + hang)


def _say_sources(failure: Failure) -> Iterable[tuple[str, str]]:
    for at, source in enumerate(failure.sources[:_MAX_SOURCES]):
        yield "" if at else "Sent by", _say_source(source)
    if more := len(failure.sources[_MAX_SOURCES:]) + failure.sources_left_out:
        yield "", f"and {more:,} more address{'' if more == 1 else 'es'}"


def _say_source(source: Source) -> str:
    address = source.address or "an address that is not said"
    count = "" if source.count is None else f" ({source.count:,})"
    return f"{source.reporter} from {address}{count}"


def _badge(state: str) -> Text:
    return Text(f"{state.upper():<8}", _STYLES[state])


def _plain(text: str, style: str = "") -> Text:
    return Text(make_visible(text), style)


def _prose(text: str) -> Text:
    prose = Text()
    for piece, is_code in split_code(text):
        prose.append(make_visible(piece), "cyan" if is_code else "")
    return prose


def _share_out(width: int) -> tuple[int, ...]:
    fixed = 19, 9, 7, 9  # "30 September 2024 +", numbers, state
    rest = max(width - sum(fixed) - 10, 24)
    return fixed[0], rest // 2, rest - rest // 2, *fixed[1:]


def _fit(text: str, width: int, is_number: bool) -> str:
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    padding = " " * (width - cell_len(text))
    return padding + text if is_number else text + padding
