"""A document as HTML: a fragment for our pages, or a page that stands alone.

No inline style and no script: our pages forbid both. The classes begin with `doc-`;
`static/readable.css` styles them for both.
"""

from collections.abc import Iterable, Sequence
from importlib import resources

from mailward.core.explain.catalogue import Explanation
from mailward.core.tlsrpt.document import DeviationNote, Document, Failure, Information, PolicySection, Source
from mailward.core.tlsrpt.sentences import say_count
from mailward.render.markup import Child, Markup, element, join, link
from mailward.render.wording import name_state, say_failed, split_code

_LOWEST_HEADING = 6


def render_document(document: Document, *, heading_level: int = 2) -> str:
    """A safe HTML fragment: one `article`. `heading_level` is that of its title."""
    return _article(document, heading_level, None).html


def render_page(documents: Sequence[Document], *, title: str, left_out: int = 0) -> str:
    """A page that stands alone and prints well. `left_out` is how many documents it does not hold."""
    many = len(documents) > 1
    # one report is the page: its title is the page's
    level = 2 if many else 1
    articles = [
        _article(each, level, f"report-{at}" if many else None) for at, each in enumerate(documents, 1)
    ]
    rest = (
        f"{say_count(left_out, 'more report')} left out: a page this long helps nobody." if left_out else None
    )
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("title", title),
        Markup(f"<style>{_stylesheet()}</style>"),
    )
    body = element(
        "body",
        element("h1", title) if many else None,
        element("nav", _overview(documents), class_="doc-overview") if many else None,
        *articles,
        element("p", rest) if rest else None,
        class_="doc-page",
    )
    return f'<!doctype html>\n<html lang="en">{head.html}{body.html}</html>\n'


_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def _stylesheet() -> str:
    here = resources.files("mailward.render")
    sheets = here / "page.css", here / "static" / "readable.css"
    return "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)


def _overview(documents: Sequence[Document]) -> Markup:
    rows = [
        (
            _badge(name_state(document)),
            element("a", document.title, href=f"#report-{at}"),
            document.period,
            document.verdict,
        )
        for at, document in enumerate(documents, 1)
    ]
    return _table(("State", "Report", "Period", "Verdict"), rows)


def _article(document: Document, level: int, anchor: str | None) -> Markup:
    state = name_state(document)
    attributes = {"id": anchor} if anchor else {}
    return element(
        "article",
        _heading(level, document.title),
        element("p", _badge(state), " ", document.verdict, class_="doc-verdict"),
        *(element("p", sentence, class_="doc-lead") for sentence in document.sentences),
        _facts([("Contact", document.contact), ("Report-ID", document.report_id)]),
        *(_policy(section, level + 1) for section in document.policies),
        _foreign(document.foreign, level + 1),
        _left_out(document.policies_left_out, "more policy entry", "more policy entries"),
        _deviations(document.deviations),
        class_=f"doc doc-is-{state}",
        **attributes,
    )


def _policy(section: PolicySection, level: int) -> Markup:
    mode = element("span", f"mode: {section.mode}", class_="doc-tag") if section.mode else None
    return element(
        "section",
        _heading(level, section.title, " " if mode else None, mode),
        element("p", section.sentence, f" {section.share} encrypted." if section.share else None),
        _bar(section),
        *(element("p", note, class_="doc-note") for note in section.notes),
        *(_failure(failure, level + 1) for failure in section.failures),
        _left_out(section.failures_left_out, "smaller failure", "smaller failures"),
        _policy_lines(section),
        class_="doc-policy",
    )


def _failure(failure: Failure, level: int) -> Markup:
    explanation = failure.explanation
    host = f": {failure.host}" if failure.host else ""
    return element(
        "section",
        _heading(level, _badge(explanation.severity), " ", explanation.title + host),
        element("p", *_prose(explanation.meaning)),
        element("p", *_prose(failure.consequence), class_="doc-consequence") if failure.consequence else None,
        _facts(
            [
                ("Failed sessions", say_failed(failure)),
                (failure.host_kind, failure.host),
                ("Its addresses", ", ".join(failure.addresses)),
                ("Its greeting", ", ".join(failure.helos)),
                ("Result type", failure.result_type or "not given"),
                ("Reason code", "; ".join(failure.reasons)),
                ("More", join(_more(failure.information)) if failure.information else None),
            ]
        ),
        _advice(explanation, level + 1),
        _sources(failure, level + 1),
        class_=f"doc-failure doc-is-{explanation.severity}",
    )


def _advice(explanation: Explanation, level: int) -> Markup:
    attack = element(
        "p", element("strong", "Fault or attack? "), *_prose(explanation.attack), class_="doc-attack"
    )
    return join(
        [
            _heading(level, "What to do"),
            element("ol", *(element("li", *_prose(step)) for step in explanation.steps), class_="doc-steps"),
            attack if explanation.attack else None,
            element("p", explanation.section, class_="doc-section"),
        ]
    )


def _sources(failure: Failure, level: int) -> Markup:
    rows = [_source_row(source) for source in failure.sources]
    return join(
        [
            _heading(level, "Who met it"),
            _table(("Reporter", "Sending MTA", "Failed sessions"), rows),
            _left_out(failure.sources_left_out, "more address", "more addresses"),
        ]
    )


def _source_row(source: Source) -> tuple[Child, ...]:
    count = "not said" if source.count is None else f"{source.count:,}"
    return source.reporter, source.address or "not said", count


def _more(information: Iterable[Information]) -> Iterable[Child]:
    for at, each in enumerate(information):
        if at:
            yield ", "
        yield link(each.url, each.text) if each.url else each.text


def _policy_lines(section: PolicySection) -> Markup | None:
    if not section.lines and not section.mx_patterns:
        return None
    return element(
        "details",
        element("summary", "The policy as the sender saw it"),
        element("p", *_prose(section.explanation.meaning)),
        element("pre", join(_lines(section.lines))) if section.lines else None,
        element("p", f"MX patterns: {', '.join(section.mx_patterns)}") if section.mx_patterns else None,
    )


def _lines(lines: Iterable[str]) -> Iterable[Child]:
    for line in lines:
        yield line
        yield Markup("\n")


def _foreign(sections: Sequence[PolicySection], level: int) -> Markup | None:
    if not sections:
        return None
    return element(
        "section",
        _heading(level, "About other domains"),
        element("p", "These entries are about domains that are not yours. They count nowhere."),
        *(_policy(section, level + 1) for section in sections),
        class_="doc-foreign",
    )


def _deviations(notes: Sequence[DeviationNote]) -> Markup | None:
    if not notes:
        return None
    return element(
        "details",
        element("summary", f"How this report differs from RFC 8460 ({len(notes)})"),
        element("ul", *(_deviation(note) for note in notes), class_="doc-deviations"),
    )


def _deviation(note: DeviationNote) -> Markup:
    places = ", ".join(place for place in note.places if place)
    more = f" and {note.count - len(note.places):,} more" if note.count > len(note.places) else ""
    return element(
        "li",
        element("span", note.level, class_="doc-tag"),
        " ",
        note.text,
        " ",
        element("code", f"{places}{more}") if places else None,
        join([" held ", element("code", note.value)]) if note.value else None,
        element("span", f" {note.section} · {note.slug}", class_="doc-section"),
    )


def _bar(section: PolicySection) -> Markup | None:
    if not section.share or section.ok is None or section.failed is None:
        return None
    # one failure among a million is still seen
    wrong = min(max(1000 * section.failed // (section.ok + section.failed), 6), 1000) if section.failed else 0
    return element(
        "svg",
        element("rect", width=1000 - wrong, height=10, class_="doc-bar-ok"),
        element("rect", x=1000 - wrong, width=wrong, height=10, class_="doc-bar-failed") if wrong else None,
        class_="doc-bar",
        viewBox="0 0 1000 10",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def _prose(text: str) -> list[Child]:
    return [element("code", piece) if is_code else piece for piece, is_code in split_code(text)]


def _heading(level: int, *children: Child) -> Markup:
    return element(f"h{min(level, _LOWEST_HEADING)}", *children)


def _badge(state: str) -> Markup:
    return element("span", state, class_=f"doc-badge doc-badge-{state}")


def _facts(facts: Iterable[tuple[str, Child]]) -> Markup | None:
    known = [(name, value) for name, value in facts if value]
    if not known:
        return None
    return element(
        "dl",
        *(join([element("dt", name), element("dd", value)]) for name, value in known),
        class_="doc-facts",
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Child]]) -> Markup:
    titles = element("tr", *(element("th", name, scope="col") for name in head))
    lines = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    table = element("table", element("thead", titles), element("tbody", *lines))
    return element("div", table, class_="doc-scroll")


def _left_out(count: int, one: str, many: str) -> Markup | None:
    return (
        element("p", f"{count:,} {one if count == 1 else many}, not shown.", class_="doc-note")
        if count
        else None
    )
