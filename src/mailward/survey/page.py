"""The summary as an HTML page that stands alone: no script, nothing from elsewhere; light, dark, and for phones."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources

from mailward.core.survey.classes import MTA_STS, TITLES, ErrorClass
from mailward.core.survey.totals import AGES, Totals
from mailward.render.markup import Child, Markup, element

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_PROVIDERS = 15
_CODES = 25
_SENDERS = {
    "verdict_mta_sts": "MTA-STS (RFC 8461)",
    "verdict_postfix": "Postfix with a plugin",
    "verdict_dane": "DANE (RFC 7672)",
    "verdict_opportunistic": "any other",
}
_OUTCOMES = ("delivers", "partly", "refuses", "unprotected", "no-mail", "unknown")
_DANE = {
    "all": "every MX host",
    "some": "some MX hosts",
    "unusable": "TLSA records that cannot be used",
    "failed": "lookup fails",
    "none": "none",
}
_STARTTLS = {"all": "every MX host", "some": "some", "none": "none", "not-observed": "not observed from here"}
_FETCHES = {
    "ok": "served as it should be",
    "no-address": "policy host has no address (no-address)",
    "unobserved": "no route from here (unobserved)",
    "connect": "no connection (connect)",
    "connect-timeout": "no connection in time (connect-timeout)",
    "timeout": "not done in time (timeout)",
    "address-refused": "a private address (address-refused)",
    "tls": "no TLS (tls)",
    "certificate-expired": "certificate expired (certificate-expired)",
    "certificate-name": "certificate for another name (certificate-name)",
    "certificate-self-signed": "certificate signed by itself (certificate-self-signed)",
    "certificate-untrusted": "certificate of an unknown authority (certificate-untrusted)",
    "redirect": "HTTP redirect (redirect)",
    "status": "another HTTP status than 200 (status)",
    "media-type": "not text/plain (media-type)",
    "too-large": "more than 64 KiB (too-large)",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the numbers come from."""

    title: str
    """Of the list."""
    at: datetime
    """When the survey began."""
    lines: int
    duplicates: int
    rejected: int
    left_out: int
    """By sampling."""
    has_smtp: bool
    has_suffixes: bool
    """Whether providers were told apart by the public suffix list."""
    version: str


@dataclass(frozen=True, slots=True)
class _Bar:
    label: str
    count: int
    tone: str = "plain"
    """`plain`, `ok`, `bad`."""


def render_summary(totals: Totals, origin: Origin) -> str:
    title = f"Mail transport security: {origin.title}"
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
        element("h1", title),
        element("p", _lead(totals, origin), class_="survey-lead"),
        _headline(totals),
        *_sections(totals, origin),
        element("footer", element("p", _foot(origin))),
        class_="doc-page survey-page",
    )
    return f'<!doctype html>\n<html lang="en">{head.html}{body.html}</html>\n'


def _sections(totals: Totals, origin: Origin) -> list[Markup]:
    sections = [
        _plot("Adoption", f"Of {totals.mail:,} domains that take mail.", _adoption(totals), totals.mail),
        _plot(
            "Modes of policies",
            f"Of {totals.sts_usable:,} policies that senders can use.",
            _counted(totals.modes, ("enforce", "testing", "none")),
            totals.sts_usable,
        ),
        _plot(
            "How long senders keep policies",
            "max_age of the same policies.",
            _counted(totals.ages, AGES),
            totals.sts_usable,
        ),
        _plot(
            "MTA-STS: error classes",
            f"Of {totals.sts_meant:,} domains with an MTA-STS record, however bad. A domain can have several faults.",
            _classes(totals, MTA_STS),
            totals.sts_meant,
        ),
        _plot(
            "What came of fetching policies",
            "Of the same domains: the first thing that went wrong, by its slug in the column policy_status.",
            [
                _Bar(_FETCHES.get(name, name), count, "ok" if name == "ok" else "bad")
                for name, count in totals.fetches.most_common(_CODES)
            ],
            totals.sts_meant,
        ),
    ]
    if totals.validated:
        bars = [
            _Bar(words, totals.dane[key], "ok" if key == "all" else "plain") for key, words in _DANE.items()
        ]
        note = f"MX hosts with usable TLSA records that DNSSEC proves; of {totals.validated:,} domains."
        sections.append(_plot("DANE", note, bars, totals.validated))
    if origin.has_smtp:
        bars = [_Bar(words, totals.starttls[key]) for key, words in _STARTTLS.items()]
        sections.append(_plot("STARTTLS", "MX hosts that do TLS.", bars, totals.smtp))
    others = [each for each in ErrorClass if each not in MTA_STS and totals.classes[each]]
    if others:
        note = f"Of all {totals.domains:,} domains."
        sections.append(_plot("Other error classes", note, _classes(totals, others), totals.domains))
    sections += [_providers(totals, origin), _verdicts(totals), _codes(totals)]
    return sections


def _stylesheet() -> str:
    page = resources.files("mailward.render") / "page.css"
    own = resources.files("mailward.survey") / "survey.css"
    return "\n".join(sheet.read_text(encoding="utf-8") for sheet in (page, own))


def _lead(totals: Totals, origin: Origin) -> str:
    parts = [f"{totals.domains:,} domains, looked at from {origin.at:%d %B %Y, %H:%M} UTC on."]
    if origin.left_out:
        parts.append(f"A sample: {origin.left_out:,} more are in the list.")
    if origin.duplicates or origin.rejected:
        parts.append(
            f"{origin.duplicates:,} lines named a domain again, {origin.rejected:,} were no domain names."
        )
    named = (
        (totals.null_mx, "say that they take no mail (null MX)"),
        (totals.nowhere, "have neither MX host nor address"),
        (totals.lookup_failed, "could not be looked up"),
        (totals.errors, "were not looked at to the end"),
    )
    parts += [f"{count:,} {words}." for count, words in named if count]
    return " ".join(parts)


def _headline(totals: Totals) -> Markup:
    """The three figures that the studies have."""
    figures = (
        (totals.sts_meant, totals.mail, "of domains that take mail have an MTA-STS record"),
        (totals.sts_faulty, totals.sts_meant, "of those are configured wrongly"),
        (
            totals.sts_refusing,
            totals.sts_meant,
            "of those enforce a policy that an MX host fails, or is not in",
        ),
    )
    items = [
        element("li", element("strong", _share(count, of), class_="survey-figure"), f" {words} ({count:,})")
        for count, of, words in figures
    ]
    return element("ul", *items, class_="survey-figures")


def _adoption(totals: Totals) -> list[_Bar]:
    bars = [_Bar("MX records", totals.explicit_mx)]
    if totals.smtp:
        bars.append(_Bar("STARTTLS at every MX host", totals.starttls["all"]))
    bars += [
        _Bar("MTA-STS record", totals.sts_meant),
        _Bar("MTA-STS policy that senders can use", totals.sts_usable),
        _Bar("MTA-STS enforced", totals.modes["enforce"]),
        _Bar("TLSRPT record", totals.tlsrpt),
    ]
    if totals.validated:
        bars.append(_Bar("DANE at every MX host", totals.dane["all"]))
    return bars


def _counted(counts: Counter[str], order: Sequence[str]) -> list[_Bar]:
    return [_Bar(name, counts[name]) for name in order]


def _classes(totals: Totals, classes: Iterable[ErrorClass]) -> list[_Bar]:
    return [_Bar(TITLES[each], totals.classes[each], "bad") for each in classes]


def _providers(totals: Totals, origin: Origin) -> Markup:
    bars = [_Bar(name, count) for name, count in totals.providers.most_common(_PROVIDERS)]
    how = "" if origin.has_suffixes else " Told apart without the public suffix list."
    note = f"By the registered domain of the MX hosts; a domain with several counts for each.{how}"
    return _plot("Mail providers", note, bars, totals.mail)


def _verdicts(totals: Totals) -> Markup:
    heads = [element("th", outcome, scope="col") for outcome in _OUTCOMES]
    rows = [
        element(
            "tr",
            element("th", words, scope="row"),
            *(
                element("td", f"{totals.verdicts[key][outcome]:,}", class_="survey-number")
                for outcome in _OUTCOMES
            ),
        )
        for key, words in _SENDERS.items()
    ]
    head = element("thead", element("tr", element("th", "Sender", scope="col"), *heads))
    note = "docs/check.md has the words. Without SMTP, what a certificate decides is unknown."
    table = element("table", head, element("tbody", *rows))
    return element(
        "section",
        element("h2", "What senders do"),
        element("p", note, class_="survey-note"),
        element(
            "div", table, class_="survey-scroll", tabindex=0, role="region", aria_label="What senders do"
        ),
    )


def _codes(totals: Totals) -> Markup:
    bars = [_Bar(code, count) for code, count in totals.codes.most_common(_CODES)]
    note = f"The {_CODES} most frequent; docs/check-codes.md explains each."
    return _plot("Findings", note, bars, totals.domains)


def _plot(title: str, note: str, bars: Sequence[_Bar], of: int) -> Markup:
    """A table whose numbers can be read aloud, with a bar in each row."""
    children: list[Child] = [element("h2", title), element("p", note, class_="survey-note")]
    if any(bar.count for bar in bars):
        most = max(bar.count for bar in bars)
        rows = [_row(bar, of, most) for bar in bars]
        children.append(element("table", element("tbody", *rows), class_="survey-plot"))
    else:
        children.append(element("p", "None."))
    return element("section", *children)


def _row(bar: _Bar, of: int, most: int) -> Markup:
    width = round(100 * bar.count / most, 2) if most else 0
    drawn = element(
        "svg",
        element("rect", x=0, y=0, width=str(width), height=10, class_=f"survey-bar survey-is-{bar.tone}"),
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )
    return element(
        "tr",
        element("th", bar.label, scope="row"),
        element("td", drawn, class_="survey-drawn"),
        element("td", f"{bar.count:,}", class_="survey-number"),
        element("td", _share(bar.count, of), class_="survey-number"),
    )


def _share(count: int, of: int) -> str:
    if not of:
        return "–"
    share = 100 * count / of
    if count and share < 0.01:
        return "< 0.01 %"
    return f"{share:.2f} %" if share < 10 else f"{share:.1f} %"


def _foot(origin: Origin) -> str:
    smtp = "MX hosts were spoken to." if origin.has_smtp else "No MX host was spoken to."
    how = "The longest bar of each plot fills it. docs/survey.md says what is counted, and how."
    return f"Mailward {origin.version}, mailward survey. {smtp} {how}"
