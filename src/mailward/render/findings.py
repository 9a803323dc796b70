"""What a doctor found, for a terminal and for programs."""

import json
from collections.abc import Iterator

from mailward.core.doctor.finding import Grade, Section
from mailward.render.visible import make_visible

_MARKS = {Grade.GOOD: "ok", Grade.UNSEEN: "unseen", Grade.ADVICE: "note", Grade.PROBLEM: "PROBLEM"}


def write_lines(section: Section) -> list[str]:
    """A fix may have several lines, such as records for a zone file."""
    lines = [section.title]
    for finding in section.findings:
        lines.append(make_visible(f"  {_MARKS[finding.grade]:<8}{finding.text}"))
        first = "->"
        for line in finding.fix.splitlines():
            lines.append(make_visible(f"          {first} {line}"))
            first = "  "
    return [*lines, ""]


def write_json(section: Section) -> Iterator[str]:
    """An object a line for each finding."""
    for finding in section.findings:
        told = {"section": section.title} | ({"check": section.name} if section.name else {})
        yield json.dumps(
            told | {"grade": finding.grade, "code": finding.code, "text": finding.text, "fix": finding.fix}
        )
