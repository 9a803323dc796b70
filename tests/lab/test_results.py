"""What follows from what was seen, and how it is told."""

import io
import re
from dataclasses import replace
from html import unescape

import msgspec
import pytest
from rich.console import Console
from tests.lab.made_up import HOSTILE, act, as_expected, tried

from mailward.lab.evidence import Act, Fate, judge
from mailward.lab.expected import compare, expected
from mailward.lab.experiment import OwnersPage, Result
from mailward.lab.owner import Failure, Told
from mailward.lab.page import render_lab
from mailward.lab.scenarios import BY_NAME, SCENARIOS, Cell, Protection, cells
from mailward.lab.screen import print_ending, print_story, print_table
from mailward.lab.telling import Tone, as_json, lessons, say

STRIPPED = Cell(BY_NAME["starttls-stripped"], Protection.ENFORCE, 1)


@pytest.mark.parametrize(
    ("seen", "fate", "is_intercepted"),
    [
        (act(), Fate.ENCRYPTED, False),
        (act(readable=True), Fate.CLEAR, False),
        (act(readable=True, stolen=True), Fate.CLEAR, True),
        (act(stolen=True, arrived=False), Fate.ENCRYPTED, True),  # he kept it for himself
        (act("deferred", arrived=False), Fate.REFUSED, False),
        (
            act("deferred", stolen=True, arrived=False),
            Fate.ENCRYPTED,
            True,
        ),  # he has it, whatever Postfix says
        (act("sent", arrived=False), Fate.LOST, False),  # Postfix's word alone is not believed
        (act("bounced", arrived=False), Fate.LOST, False),
    ],
)
def test_packets_and_mailboxes_decide_not_words(seen: Act, fate: Fate, is_intercepted: bool) -> None:
    outcome = judge(seen, [])
    assert (outcome.fate, outcome.is_intercepted) == (fate, is_intercepted)


def test_what_was_reported_is_what_the_reports_count() -> None:
    failures = (Failure("starttls-not-supported", "mx", "", 1), Failure("certificate-expired", "mx", "", 0))
    told = Told("shop.test", "sender.test", "verified", "sts", 0, 1, failures)
    outcome = judge(act(), [told, told])
    assert (outcome.reported, outcome.has_report) == (("starttls-not-supported",), True)


def test_a_report_that_nobody_vouches_for_says_nothing() -> None:
    failures = (Failure("starttls-not-supported", "mx", "", 1),)
    outcome = judge(act(), [Told("shop.test", "sender.test", "failed", "sts", 0, 1, failures)])
    assert (outcome.reported, outcome.has_report) == ((), False)


def test_the_expectations_cover_every_cell_once() -> None:
    wanted = {(scenario.name, protection) for scenario in SCENARIOS for protection in Protection}
    assert expected().keys() == wanted


def test_a_result_that_is_not_expected_is_named() -> None:
    result = as_expected()
    assert compare(result) == []
    first, *rest = result.tried
    worse = replace(first, outcome=msgspec.structs.replace(first.outcome, is_intercepted=True))
    [difference] = compare(replace(result, tried=(worse, *rest)))
    assert difference.cell == "peace-unprotected"
    assert difference.found == "delivered encrypted, read by the attacker, reported: nothing, problems: none"


def changed(label: str, *reported: str, has_report: bool = True, problems: tuple[str, ...] = ()) -> Result:
    result = as_expected()
    return replace(
        result,
        tried=tuple(
            replace(
                each,
                outcome=msgspec.structs.replace(each.outcome, reported=reported, has_report=has_report),
                problems=problems,
            )
            if each.cell.label == label
            else each
            for each in result.tried
        ),
    )


STARTTLS = "starttls-not-supported"


@pytest.mark.parametrize(
    ("label", "reported", "has_report", "problems"),
    [
        ("starttls-stripped-enforce", (), True, ()),  # a failure that nobody is told of
        (
            "peace-enforce",
            (STARTTLS,),
            True,
            (f"{STARTTLS} at mx.peace-enforce.test",),
        ),  # one that there was not
        ("peace-enforce", (), False, ()),  # no report, where there should be one
        ("starttls-stripped-unprotected", (), False, ()),  # none, where the log tells it
        ("starttls-stripped-enforce", (STARTTLS,), True, ()),  # told, and no problem opened
        ("starttls-stripped-enforce", (STARTTLS,), True, (f"{STARTTLS} at mx.other.test",)),
        ("peace-enforce", (), True, (f"{STARTTLS} at mx.peace-enforce.test",)),  # a problem out of nothing
    ],
)
def test_what_the_owner_hears_must_be_just_what_was_expected(
    label: str, reported: tuple[str, ...], has_report: bool, problems: tuple[str, ...]
) -> None:
    result = changed(label, *reported, has_report=has_report, problems=problems)
    assert [each.cell for each in compare(result)] == [label]


def test_postfix_3_7_signals_nothing_but_its_log_tells_of_mail_in_clear() -> None:
    older = expected(has_signals=False)
    in_clear = {key for key, outcome in older.items() if outcome.fate is Fate.CLEAR}
    assert {key for key, outcome in older.items() if STARTTLS in outcome.reported} == in_clear
    assert older["starttls-stripped", Protection.TESTING].reported == (STARTTLS,)
    assert older.keys() == expected().keys()


def test_addresses_and_names_of_cells_are_their_own() -> None:
    every = cells()
    assert len({cell.mx_address for cell in every} | {cell.evil_address for cell in every}) == 2 * len(every)
    assert all(re.fullmatch(r"[a-z0-9-]{1,63}", cell.label) for cell in every)


def test_a_refusal_is_good_under_attack_and_a_nuisance_without_one() -> None:
    expired = Cell(BY_NAME["expired"], Protection.ENFORCE, 2)
    assert say(tried(STRIPPED, Fate.REFUSED, is_intercepted=False)).tone is Tone.GOOD
    assert say(tried(expired, Fate.REFUSED, is_intercepted=False)).tone is Tone.WAITS


def test_only_what_a_run_has_shown_is_taught() -> None:
    result = as_expected()
    assert len(lessons(result)) == 6
    gap = replace(result, tried=tuple(each for each in result.tried if "later" not in each.cell.label))
    assert "MTA-STS has a first-use gap." not in [lesson.title for lesson in lessons(gap)]


def test_the_page_needs_nothing_from_elsewhere_and_believes_nobody() -> None:
    page = render_lab(as_expected())
    assert HOSTILE not in page
    assert "&lt;script" in page
    assert re.findall(r"<script|<link|<img|@import|url\(|\son\w+=|\bstyle=", page) == []
    assert re.findall(r'(?:src|href)="(?!#)', page) == []


def test_the_owners_page_is_shown_in_a_frame_that_can_do_nothing() -> None:
    html = '<p class="x">the "page" & more</p>'
    page = render_lab(replace(as_expected(), page=OwnersPage("shop.test", html)))
    assert html not in page
    [source] = re.findall(r'<iframe srcdoc="([^"]*)" sandbox="" title="The page of shop.test"', page)
    assert unescape(source) == html


def test_the_page_has_every_result_in_its_table_and_in_its_story() -> None:
    page = render_lab(as_expected())
    assert page.count("<td>") == len(cells())
    assert page.count("<svg") == len(cells()) + 1


def test_the_terminal_shows_escape_sequences_instead_of_obeying_them() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    for show in (print_story, print_table, print_ending):
        show(as_expected(), console)
    text = console.export_text(styles=False)
    assert "\x1b" not in text
    assert f"All {len(cells())} results are as expected." in text


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_breaks_no_word_whatever_the_width(width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    print_table(as_expected(), console)
    text = console.export_text(styles=False)
    assert text.count("certificate-host-mismatch") == 2
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width


def test_json_has_everything() -> None:
    written = msgspec.json.decode(as_json(as_expected()))
    assert len(written["results"]) == len(cells())
    assert written["results"][0]["attack"]["steps"][0]["party"] == "wire"
