"""What the doctor found when it last looked, on each machine."""

from dataclasses import dataclass

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render

from mailward.core.doctor.catalogue import MEANINGS
from mailward.render.visible import make_visible
from mailward.store.queries.health import Machine, machines
from mailward.store.services import health as service
from mailward.web.access import ScopedRequest, operator_page

_BADGES = {
    "problem": ("bad", "Problem"),
    "advice": ("warn", "Note"),
    "unseen": ("unknown", "Not seen"),
    "good": ("ok", "OK"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A finding for people."""

    badge: str
    label: str
    text: str
    fix: str
    meaning: str


@dataclass(frozen=True, slots=True)
class ShownSection:
    title: str
    badge: str
    label: str
    """Of the worst in it."""
    findings: list[Shown]


@dataclass(frozen=True, slots=True)
class ShownMachine:
    machine: Machine
    sections: list[ShownSection]
    problems: int
    notes: int
    unseen: int


@operator_page
def health(request: ScopedRequest) -> HttpResponse:
    """By POST: let it be looked at now."""
    if request.method == "POST":
        if not service.ask():
            messages.info(request, "It was looked at less than a minute ago, or is being looked at now.")
        return redirect("health")
    found = [_show(each) for each in machines(settings.MAILWARD.doctor.every_hours)]
    context = {
        "machines": found,
        "is_under_way": any(each.machine.is_asked for each in found),
        "may_look": any(each.machine.may_ask for each in found),
    }
    return render(request, "health/health.html", context)


def _show(machine: Machine) -> ShownMachine:
    sections = [_show_section(section["title"], section["findings"]) for section in machine.sections]
    grades = [finding["grade"] for section in machine.sections for finding in section["findings"]]
    # the worst first; sorting keeps the order of the checks otherwise
    order = [badge for badge, _ in _BADGES.values()]
    sections.sort(key=lambda section: order.index(section.badge))
    return ShownMachine(
        machine, sections, grades.count("problem"), grades.count("advice"), grades.count("unseen")
    )


def _show_section(title: str, findings: list[dict[str, str]]) -> ShownSection:
    worst = next((grade for grade in _BADGES if any(each["grade"] == grade for each in findings)), "good")
    ordered = sorted(findings, key=lambda each: list(_BADGES).index(each["grade"]))
    return ShownSection(title, *_BADGES[worst], [_show_finding(each) for each in ordered])


def _show_finding(finding: dict[str, str]) -> Shown:
    badge, label = _BADGES[finding["grade"]]
    meaning = MEANINGS.get(finding["code"])
    fix = "\n".join(make_visible(line) for line in finding["fix"].splitlines())
    return Shown(badge, label, make_visible(finding["text"]), fix, meaning.meaning if meaning else "")
