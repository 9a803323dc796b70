"""Pages made of strangers' strings: nothing in them becomes an element, an attribute or a link that runs."""

from html.parser import HTMLParser

import pytest
from tests.render.reports import ATTACKS, USUAL, hostile

from mailward.core.tlsrpt.deviations import Deviation
from mailward.core.tlsrpt.document import build_document
from mailward.render.html import render_document, render_page
from mailward.render.markup import element, join, link

_VOID = {"meta", "br"}


class Seen(HTMLParser):
    """Elements, attributes and text, and whether every element is closed in its place."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.classes: set[str] = set()
        self.links: list[str] = []
        self.headings: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        given = {name: value or "" for name, value in attrs}
        self.classes |= set(given.get("class", "").split())
        if "href" in given:
            self.links.append(given["href"])
        if tag[0] == "h" and tag[1:].isdigit():
            self.headings.append(tag)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_usual_report_reads_from_verdict_to_advice() -> None:
    seen = Seen(render_document(build_document(USUAL)))
    order = [
        "Google Inc. about example.com",
        "6 of 1,204 sessions failed: the certificate of mx2.example.com has expired.",
        "Google Inc. saw 1,204 sessions to example.com on 3 September 2024: 1,198 encrypted, 6 failed.",
        "MTA-STS policy of example.com",
        "99.5 % encrypted.",
        "Certificate expired: mx2.example.com",
        "What to do",
        "Who met it",
        "192.0.2.201",
        "max_age: 604800",
    ]
    places = [seen.text.index(text) for text in order]
    assert places == sorted(places)
    assert seen.links == ["https://example.net/info?id=1&x=2"]
    assert seen.headings == ["h2", "h3", "h4", "h5", "h5"]
    assert not seen.open


def test_headings_fit_into_the_page_around() -> None:
    assert Seen(render_document(build_document(USUAL), heading_level=5)).headings == [
        "h5",
        "h6",
        "h6",
        "h6",
        "h6",
    ]


@pytest.mark.parametrize(("text", "why"), ATTACKS)
def test_r5_no_string_of_a_stranger_becomes_markup(text: str, why: str) -> None:
    deviations = [Deviation("count-negative", text, text)]
    documents = [
        build_document(hostile(text), deviations, domain=domain) for domain in (None, "mine.example", text)
    ]
    seen = Seen(render_page(documents, title=text))
    harmless = [
        build_document(hostile("https://x"), [Deviation("count-negative", "x", "y")], domain="mine.example")
    ]
    usual = Seen(render_page([build_document(USUAL), *harmless], title="x"))
    assert seen.elements <= usual.elements, why
    assert seen.attributes <= usual.attributes, why
    assert all(url.startswith(("#report-", "https://")) for url in seen.links), why
    assert not seen.open, why


@pytest.mark.parametrize(("text", "why"), ATTACKS)
def test_no_control_character_reaches_the_page(text: str, why: str) -> None:
    page = render_document(build_document(hostile(text)))
    assert all(char.isprintable() or char == "\n" for char in page), why
    page.encode()


def test_the_fragment_obeys_a_strict_content_security_policy() -> None:
    seen = Seen(render_document(build_document(USUAL)))
    assert seen.elements.isdisjoint({"script", "style", "iframe", "form", "img", "object"})
    assert "style" not in seen.attributes
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert all(name == "doc" or name.startswith("doc-") for name in seen.classes)


def test_the_page_stands_alone() -> None:
    page = render_page([build_document(USUAL)], title="TLS reports")
    assert page.startswith("<!doctype html>")
    assert Seen(page).elements.isdisjoint({"script", "link", "img"})
    assert "@media print" in page
    assert "prefers-color-scheme: dark" in page
    assert "url(" not in page


def test_a_page_of_one_report_says_its_title_once() -> None:
    document = build_document(USUAL)
    seen = Seen(render_page([document], title=document.title))
    assert seen.headings[:2] == ["h1", "h2"]
    assert seen.headings.count("h1") == 1
    assert seen.text.count(document.title) == 2  # the head has it, too


def test_a_page_with_many_reports_begins_with_a_list_of_them() -> None:
    page = render_page([build_document(USUAL)] * 3, title="TLS reports", left_out=7)
    assert [url for url in Seen(page).links if url.startswith("#")] == ["#report-1", "#report-2", "#report-3"]
    assert "7 more reports left out" in page


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "JAVASCRIPT:x", " https://x", "data:,x", "//x", "ftp://x"]
)
def test_r5_only_web_addresses_become_links(url: str) -> None:
    assert "<a" not in link(url, url).html


def test_children_are_escaped_unless_they_are_markup() -> None:
    child = element("b", '1 < 2 & "3"')
    assert element("p", child, None, "<i>", title='"').html == (
        '<p title="&quot;"><b>1 &lt; 2 &amp; &quot;3&quot;</b>&lt;i&gt;</p>'
    )
    assert join([]).html == ""
