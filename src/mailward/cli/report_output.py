"""The forms in which `mailward report show` prints what it read. Each takes one file at a time.

What a form needs is imported when it is chosen: a thousand mails are JSON lines before rich is loaded.
"""

import io
from typing import IO, TYPE_CHECKING, Protocol

import msgspec

from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.reading import Reading

if TYPE_CHECKING:
    from mailward.core.tlsrpt.document import Document
    from mailward.render.terminal import Overview

MAX_IN_FULL = 3
"""More reports than these become an overview, with the failures in full below it."""
MAX_FAILED_IN_FULL = 20
MAX_HTML_REPORTS = 1_000


class Output(Protocol):
    def take(self, name: str, outcome: Reading | Unreadable) -> None:
        """One file, and what became of it."""

    def finish(self) -> None:
        """After the last."""


class JsonLines:
    def __init__(self, file: IO[bytes]) -> None:
        from mailward.render.jsonl import jsonl_row

        self._write = file.write
        self._row = jsonl_row
        self._encode = msgspec.json.Encoder().encode

    def take(self, name: str, outcome: Reading | Unreadable) -> None:
        self._write(self._encode(self._row(name, outcome)) + b"\n")

    def finish(self) -> None:
        pass


class Table:
    def __init__(self, file: IO[bytes], domain: str | None) -> None:
        from mailward.render import csv

        self._csv = csv
        self._domain = domain
        # a stranger's half character must not end the table
        self._file = io.TextIOWrapper(file, "utf-8", errors="replace", newline="")
        csv.write_head(self._file)

    def take(self, name: str, outcome: Reading | Unreadable) -> None:
        if isinstance(outcome, Reading):
            for report in outcome.reports:
                self._csv.write_report(self._file, name, report, domain=self._domain)

    def finish(self) -> None:
        self._file.detach()


class Page:
    def __init__(self, file: IO[bytes], domain: str | None) -> None:
        self._file = file
        self._domain = domain
        self._documents: list[Document] = []
        self._left_out = 0

    def take(self, name: str, outcome: Reading | Unreadable) -> None:
        if isinstance(outcome, Unreadable):
            return
        room = MAX_HTML_REPORTS - len(self._documents)
        self._left_out += max(len(outcome.reports) - room, 0)
        self._documents += _to_documents(outcome, self._domain, room)

    def finish(self) -> None:
        from mailward.render.html import render_page

        if not self._documents:
            return
        title = self._documents[0].title if len(self._documents) == 1 else "TLS reports"
        page = render_page(self._documents, title=title, left_out=self._left_out)
        self._file.write(page.encode("utf-8", "replace"))


class Terminal:
    """Few reports in full; of many a line each, then those with failures in full."""

    def __init__(self, file: IO[str], domain: str | None, width: int | None) -> None:
        from rich.console import Console

        self._console = Console(file=file, width=width, highlight=False, emoji=False)
        self._domain = domain
        self._first: list[tuple[str, Document]] = []
        self._failed: list[tuple[str, Document]] = []
        self._count = 0
        self._failed_count = 0
        self._overview: Overview | None = None

    def take(self, name: str, outcome: Reading | Unreadable) -> None:
        if isinstance(outcome, Reading):
            for document in _to_documents(outcome, self._domain, len(outcome.reports)):
                self._add(name, document)

    def finish(self) -> None:
        from mailward.render.terminal import print_document

        if self._overview is not None:
            self._console.print(f"\n{self._say_sum()}\n", markup=False, soft_wrap=True)
        for name, document in self._first if self._overview is None else self._failed:
            print_document(document, self._console, name=name if self._count > 1 else "")

    def _add(self, name: str, document: "Document") -> None:
        from mailward.core.tlsrpt.document import State

        self._count += 1
        if document.state is State.FAILED:
            self._failed_count += 1
            if len(self._failed) < MAX_FAILED_IN_FULL:
                self._failed.append((name, document))
        if self._count <= MAX_IN_FULL:
            self._first.append((name, document))
            return
        if self._overview is None:
            from mailward.render.terminal import Overview

            self._overview = Overview(self._console)
            self._overview.print_head()
            for _, before in self._first:
                self._overview.print_row(before)
        self._overview.print_row(document)

    def _say_sum(self) -> str:
        from mailward.core.tlsrpt.sentences import say_count

        said = f"{say_count(self._count, 'report')}, {self._failed_count:,} with failures."
        if self._failed_count > len(self._failed):
            return (
                f"{said} The first {len(self._failed)} of these in full; --html, --csv and --jsonl give all:"
            )
        return f"{said} In full:" if self._failed else said


def _to_documents(reading: Reading, domain: str | None, at_most: int) -> list["Document"]:
    from mailward.core.tlsrpt.document import build_document

    several = len(reading.reports) > 1
    return [
        build_document(
            report,
            [each for each in reading.deviations if not several or _concerns(each.where, at)],
            domain=domain,
        )
        for at, report in enumerate(reading.reports[:at_most])
    ]


def _concerns(where: str, at: int) -> bool:
    """Whether a deviation in a file of several reports is about this one. Those of the mail are about all."""
    return where.startswith(f"reports[{at}]") or not where.startswith("reports[")
