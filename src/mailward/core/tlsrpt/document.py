"""A report as a person reads it: the verdict, who saw what, why sessions failed and what to do.

Renderers (terminal, pages, mails) show a Document as it is and decide nothing. It is bounded however large
the report is; what is left out is counted. Texts are strangers' words in part: renderers escape everything.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest

from mailward.core.explain.catalogue import Severity
from mailward.core.tlsrpt import verdict
from mailward.core.tlsrpt.deviations import DEVIATIONS, Deviation, Level
from mailward.core.tlsrpt.failures import Failure, Information, Source
from mailward.core.tlsrpt.schema import Policy, PolicyType, Report
from mailward.core.tlsrpt.section import PolicySection, describe_policy
from mailward.core.tlsrpt.sentences import say_period, shorten
from mailward.core.tlsrpt.verdict import State

__all__ = [
    "DeviationNote",
    "Document",
    "Failure",
    "Information",
    "PolicySection",
    "Source",
    "State",
    "build_document",
]

MAX_FAILURES = 200
"""Shown in one document, the largest."""
MAX_POLICIES = 100
MAX_PLACES = 5
_WORST_FIRST = tuple(Severity)


@dataclass(frozen=True, slots=True)
class DeviationNote:
    """One kind of deviation from the standard, with the places where it was found."""

    slug: str
    level: Level
    text: str
    section: str
    count: int
    places: tuple[str, ...]
    value: str
    """What stood at the first place."""


@dataclass(frozen=True, slots=True)
class Document:
    verdict: str
    """One sentence, to be read first."""
    state: State
    severity: Severity | None
    """Of the worst failure; None where nothing failed."""
    sentences: tuple[str, ...]
    """Who saw what when. Sessions are never added up over policy types."""
    reporter: str
    contact: str | None
    report_id: str | None
    period: str
    """ "on 3 September 2024"."""
    about: str
    """The domain, or the domains, of the policies shown."""
    policies: tuple[PolicySection, ...]
    foreign: tuple[PolicySection, ...]
    """Policies of other domains: kept apart, not counted."""
    policies_left_out: int
    deviations: tuple[DeviationNote, ...]
    """What contradicts the standard first."""

    @property
    def title(self) -> str:
        return f"{self.reporter} about {self.about}"


def build_document(
    report: Report,
    deviations: Sequence[Deviation] = (),
    *,
    domain: str | None = None,
    own: Collection[int] | None = None,
) -> Document:
    """The document of a report; never fails.

    With `domain`, policies of other domains are foreign. `own` says which are not, by their places in
    `report.policies` (core.tlsrpt.routing knows more than names do); without it a `tlsa` entry is the
    domain's, since it names an MX host, which can have any name.
    """
    results = report.policies
    places = set(range(len(results)))
    mine = (
        places & set(own) if own is not None else {at for at in places if _is_own(results[at].policy, domain)}
    )
    reporter = verdict.name_reporter(report)
    shown = (sorted(mine) + sorted(places - mine))[:MAX_POLICIES]
    subject = domain or _find_subject(report)
    sections = {at: describe_policy(results[at], reporter, subject) for at in shown}
    _keep_largest(sections)
    own_sections = tuple(sections[at] for at in shown if at in mine)
    totals = verdict.total_by_type(results[at] for at in sorted(mine))
    about = verdict.name_subject([results[at] for at in sorted(mine)] or results, domain if mine else None)
    period = say_period(report.date_range)
    sentence, state = verdict.judge(totals, own_sections)
    if results and not mine:
        not_about = f", not about {domain}" if domain else ": none of your domains"
        sentence, state = f"This report is about {about}{not_about}.", State.FOREIGN
    return Document(
        verdict=sentence,
        state=state,
        severity=_find_worst(own_sections, state),
        sentences=verdict.say_totals(reporter, about, period, totals),
        reporter=reporter,
        contact=shorten(report.contact_info) if report.contact_info else None,
        report_id=shorten(report.report_id) if report.report_id else None,
        period=period,
        about=about,
        policies=own_sections,
        foreign=tuple(sections[at] for at in shown if at not in mine),
        policies_left_out=len(results) - len(shown),
        deviations=_note_deviations(deviations),
    )


def _is_own(policy: Policy, domain: str | None) -> bool:
    name = policy.policy_domain
    return domain is None or name is None or name == domain or policy.policy_type == PolicyType.TLSA


def _find_subject(report: Report) -> str | None:
    """The one domain that the entries name which do not name an MX host."""
    named = {
        result.policy.policy_domain
        for result in report.policies
        if result.policy.policy_domain and result.policy.policy_type != PolicyType.TLSA
    }
    return named.pop() if len(named) == 1 else None


def _keep_largest(sections: dict[int, PolicySection]) -> None:
    """Leaves MAX_FAILURES failures in all sections together, and notes how many are gone."""
    every = [(at, failure) for at, section in sections.items() for failure in section.failures]
    if len(every) <= MAX_FAILURES:
        return
    kept: dict[int, list[Failure]] = {}
    for at, failure in nlargest(MAX_FAILURES, every, key=lambda each: each[1].count or 0):
        kept.setdefault(at, []).append(failure)
    for at, section in sections.items():
        failures = tuple(kept.get(at, ()))
        left_out = len(section.failures) - len(failures)
        sections[at] = replace(section, failures=failures, failures_left_out=left_out)


def _find_worst(sections: Sequence[PolicySection], state: State) -> Severity | None:
    if state is not State.FAILED:
        return None
    found = {failure.explanation.severity for section in sections for failure in section.failures}
    # failures without details: something is wrong, and nobody says what
    return min(found, key=_WORST_FIRST.index, default=Severity.WARNING)


def _note_deviations(deviations: Sequence[Deviation]) -> tuple[DeviationNote, ...]:
    by_slug: dict[str, list[Deviation]] = {}
    for deviation in deviations:
        by_slug.setdefault(deviation.slug, []).append(deviation)
    notes = []
    for slug, found in by_slug.items():
        info = DEVIATIONS[slug]
        places = tuple(shorten(each.where, 120) for each in found[:MAX_PLACES])
        notes.append(
            DeviationNote(
                slug, info.level, info.text, info.section, len(found), places, shorten(found[0].value)
            )
        )
    return tuple(sorted(notes, key=lambda note: (note.level is Level.NOTICE, note.slug)))
