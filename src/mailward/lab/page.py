"""The lab as an HTML page that stands alone: no script, nothing from elsewhere; light, dark, and for phones."""

from collections.abc import Sequence
from html import escape
from importlib import resources

from mailward.lab.diagram import draw, draw_network
from mailward.lab.expected import compare
from mailward.lab.experiment import Result, Tried
from mailward.lab.scenarios import Protection, Scenario
from mailward.lab.telling import by_scenario, grouped, lessons, say, say_afterwards, say_comparison, say_told
from mailward.render.markup import Child, Markup, element, join

_TITLE = "Mail on a hostile path"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_PARTIES = {
    "wire": "On the wire, between sender and attacker",
    "sender": "The sender",
    "attacker": "The attacker",
    "receiver": "The receiver",
}
_LEAD = (
    "Real mail servers in network namespaces, and an attacker through whose host everything passes that the sender"
    " sends. Each attack runs four ways; the sender is the same, only what the receiving domain publishes differs."
)
_HOW = (
    ("in clear", "the body was found in the packets captured between sender and attacker"),
    ("read by the attacker", "the body is in the attacker's mailbox"),
    ("delivered", "the message is in the receiver's mailbox"),
    ("refused", "neither has it, and the sender's Postfix has deferred it"),
    (
        "reported as",
        "result types in the reports that reached the owner's platform the next day, by RFC 8460",
    ),
)


def render_lab(result: Result) -> str:
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("title", _TITLE),
        Markup(f"<style>{_stylesheet()}</style>"),
    )
    groups = by_scenario(result)
    body = element(
        "body",
        element("h1", _TITLE),
        element("p", _LEAD, class_="lab-lead"),
        _table(groups),
        element("p", _summary(result), class_="lab-summary"),
        _differences(result),
        *_lessons(result),
        *_owners_page(result),
        element("h2", "Who is where"),
        draw_network(),
        element("h2", "How each word of the table is found"),
        element("dl", *_how(), class_="doc-facts"),
        *(_scenario(scenario, tries) for scenario, tries in groups),
        class_="doc-page lab-page",
    )
    return f'<!doctype html>\n<html lang="en">{head.html}{body.html}</html>\n'


def _stylesheet() -> str:
    render, lab = resources.files("mailward.render"), resources.files("mailward.lab")
    sheets = render / "page.css", render / "static" / "readable.css", lab / "lab.css"
    return "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)


def _summary(result: Result) -> str:
    comparison = say_comparison(compare(result), len(result.tried))
    return f"{comparison} The sender is Postfix {result.version}; the whole run took {result.seconds:.0f} seconds."


def _differences(result: Result) -> Child:
    rows = [
        element("li", f"{each.cell}: expected {each.expected}; found {each.found}")
        for each in compare(result)
    ]
    return element("ul", *rows, class_="lab-differences") if rows else None


def _lessons(result: Result) -> list[Markup]:
    found = lessons(result)
    if not found:
        return []
    items = [element("li", element("strong", each.title), f" {each.text}") for each in found]
    return [element("h2", "What this shows"), element("ul", *items, class_="lab-lessons")]


def _owners_page(result: Result) -> list[Markup]:
    if result.page is None:
        return []
    domain = result.page.domain
    words = (
        f"This is the page of {domain} at the owner's platform, the next day. The report that it rests on came by"
        " mail, with a signature that the platform has verified."
    )
    # not by element(), which makes line ends visible
    source, title = escape(result.page.html, quote=True), escape(domain, quote=True)
    frame = f'<iframe srcdoc="{source}" sandbox="" title="The page of {title}" class="lab-owner"></iframe>'
    return [element("h2", "What the owner sees the next day"), element("p", words), Markup(frame)]


def _how() -> list[Markup]:
    return [join([element("dt", word), element("dd", meaning)]) for word, meaning in _HOW]


def _table(groups: Sequence[tuple[Scenario, list[Tried]]]) -> Markup:
    heads = [element("th", protection.words, scope="col") for protection in Protection]
    rows = []
    for scenario, tries in groups:
        name = element("a", scenario.title, href=f"#{_anchor(scenario)}")
        cells = [_cell(tried) for tried in tries]
        rows.append(element("tr", element("th", name, scope="row"), *cells))
    head = element("thead", element("tr", element("th", "Attack or fault", scope="col"), *heads))
    return element("table", head, element("tbody", *rows), class_="lab-table")


def _cell(tried: Tried) -> Markup:
    said = say(tried)
    return element(
        "td",
        element("span", tried.cell.protection.words, class_="lab-under"),
        element("strong", said.text, class_=f"lab-is-{said.tone}"),
        element("span", said.reported, class_="lab-reported"),
    )


def _anchor(scenario: Scenario) -> str:
    return f"scenario-{scenario.name.replace('.', '')}"


def _scenario(scenario: Scenario, tries: Sequence[Tried]) -> Markup:
    return element(
        "section",
        element("h2", scenario.title),
        element("p", scenario.story),
        element("div", *(_try(tried) for tried in tries), class_="lab-tries"),
        id=_anchor(scenario),
    )


def _try(tried: Tried) -> Markup:
    said = say(tried)
    before = (
        "A first mail was delivered before; what the domain publishes was learned." if tried.before else ""
    )
    return element(
        "article",
        element("h3", tried.cell.protection.words),
        element("p", before, class_="lab-before") if before else None,
        draw(tried),
        element(
            "p",
            element("strong", said.text, class_=f"lab-is-{said.tone}"),
            f"; {said.reported}. {say_afterwards(tried)}",
        ),
        _seen(tried),
        class_="lab-try",
    )


def _seen(tried: Tried) -> Markup:
    parts: list[Child] = [element("summary", "What each party saw")]
    groups = [(_PARTIES[party], lines) for party, lines in grouped(tried.attack.steps)]
    if told := say_told(tried):
        groups.append(("The owner's platform, the next day", told))
    for party, lines in groups:
        parts.append(element("h4", party))
        parts.append(element("ol", *(element("li", line) for line in lines), class_="lab-lines"))
    return element("details", *parts)
