"""A survey from its list to its results, begun or gone on with."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

import mailward
from mailward.core.survey.columns import FORMAT
from mailward.core.survey.totals import Totals
from mailward.net import clock
from mailward.probe.surveyways import SurveyWays, read_suffixes
from mailward.survey.crew import Crew
from mailward.survey.export import export
from mailward.survey.journal import FORMAT as JOURNAL_FORMAT
from mailward.survey.journal import Done, Journal
from mailward.survey.page import Origin
from mailward.survey.plan import Plan, hash_list, make_plan, read_names
from mailward.survey.tasks import Task

MANIFEST = "survey.json"
_BEFORE = ("names", "names.new", "names.sample", "rejected.csv", "survey.json.new")
"""What a kill may leave while the list is read."""


class SurveyProblem(Exception):
    """The directory and what is asked do not go together; one sentence."""


class Progress(Protocol):
    def begin(self, words: str, total: int, done: int = 0) -> None: ...
    def advance(self, count: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Manifest:
    """survey.json."""

    format: int
    """Of the rows: columns.FORMAT."""
    version: str
    """Of Mailward, when the survey began."""
    title: str
    started_at: datetime
    plan: Plan
    sample: int | None
    has_smtp: bool
    finished_at: datetime | None = None
    journal: int = 1
    """journal.FORMAT."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line wants."""

    source: BinaryIO | None
    """The list; None: the one that the directory has."""
    title: str
    sample: int | None
    has_smtp: bool


def open_survey(folder: Path, asked: Asked) -> tuple[Manifest, bool]:
    """The survey of the directory, and whether it was there already. Raises SurveyProblem, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        _check_same(folder, manifest, asked)
        return manifest, True
    if asked.source is None:
        raise SurveyProblem(f"{folder} holds no survey to go on with: name the list")
    strange = next((each for each in folder.iterdir() if each.name not in _BEFORE), None)
    if strange is not None:
        raise SurveyProblem(
            f"{folder} holds other files, {strange.name} for one: a survey needs a directory of its own"
        )
    plan = make_plan(asked.source, folder, asked.sample)
    if not plan.names:
        raise SurveyProblem(
            f"no domain name is in the list of {plan.lines} lines; {folder}/rejected.csv says why"
        )
    manifest = Manifest(
        FORMAT,
        mailward.__version__,
        asked.title,
        clock.now(),
        plan,
        asked.sample,
        asked.has_smtp,
        journal=JOURNAL_FORMAT,
    )
    write_manifest(folder, manifest)
    return manifest, False


def read_manifest(folder: Path) -> Manifest:
    """Raises SurveyProblem, OSError."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise SurveyProblem(f"{folder / MANIFEST} is not a survey's: {error}") from error
    if (manifest.format, manifest.journal) != (FORMAT, JOURNAL_FORMAT):
        words = f"was begun by Mailward {manifest.version}, whose rows are written otherwise"
        raise SurveyProblem(f"the survey in {folder} {words}: finish it with that version")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    new = folder / f"{MANIFEST}.new"
    with new.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / MANIFEST)


def run_survey(
    folder: Path, manifest: Manifest, ways: SurveyWays, workers: int, progress: Progress
) -> Totals:
    """Ask what has not been asked yet, and write the results. Raises JournalBusy, CrewDied, OSError."""
    with Journal(folder, manifest.plan.names) as journal:
        done = journal.done
        if done.count < manifest.plan.names:
            progress.begin("Looking", manifest.plan.names, done.count)
            left = manifest.plan.names - done.count
            Crew(ways, workers, journal).run(_tasks(folder, done), left, progress.advance)
        progress.begin("Writing", manifest.plan.names)
        totals = export(folder, _origin(manifest, ways), progress.advance)
        if manifest.finished_at is None:
            write_manifest(folder, replace(manifest, finished_at=clock.now()))
    return totals


def _check_same(folder: Path, manifest: Manifest, asked: Asked) -> None:
    """Raises SurveyProblem."""
    where = f"{folder} holds another survey"
    if asked.source is not None and hash_list(asked.source) != manifest.plan.sha256:
        raise SurveyProblem(f"{where}: of {manifest.title}, and its list was not this one")
    if asked.source is not None and asked.sample != manifest.sample:
        raise SurveyProblem(f"{where}: with --sample {manifest.sample or 'left out'}")
    if asked.has_smtp != manifest.has_smtp:
        raise SurveyProblem(f"{where}: {'with' if manifest.has_smtp else 'without'} --smtp")


def _tasks(folder: Path, done: Done) -> Iterator[Task]:
    for place, entry in enumerate(read_names(folder)):
        if place not in done:
            yield place, entry


def _origin(manifest: Manifest, ways: SurveyWays) -> Origin:
    plan = manifest.plan
    return Origin(
        manifest.title,
        manifest.started_at,
        plan.lines,
        plan.duplicates,
        plan.rejected,
        plan.left_out,
        manifest.has_smtp,
        read_suffixes(ways.suffix_list).is_complete,
        manifest.version,
    )
