"""From facts to a report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mailward.core.check.facts import UNOBSERVED, Facts, Reach
from mailward.core.check.finding import Finding, merge
from mailward.core.check.grade import Grade, grade
from mailward.core.check.history import History, judge_history, make_moment
from mailward.core.check.rehearsal import Rehearsed
from mailward.core.check.rules import RULES
from mailward.core.check.schema import Moment
from mailward.core.check.verdict import Verdict, judge
from mailward.core.check.view import LEAD_DAYS, View
from mailward.core.explain.explanation import Severity


@dataclass(frozen=True, slots=True)
class Unobserved:
    """What could not be seen from here: no fault, and no proof that there is none."""

    about: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    facts: Facts
    verdicts: tuple[Verdict, ...]
    findings: tuple[Finding, ...]
    unobserved: tuple[Unobserved, ...]
    grade: Grade | None
    history: History = field(default_factory=History)
    rehearsed: Rehearsed | None = None
    """Of a dry run: reported sessions under the policy that is supposed."""

    @property
    def worst(self) -> Severity | None:
        return self.findings[0].severity if self.findings else None


def run(facts: Facts, earlier: Sequence[Moment] = (), *, lead_days: int = LEAD_DAYS) -> Report:
    """`earlier`: of documents of earlier checks (schema.read_moment), for what only shows over time. `lead_days`: how
    long before its end a certificate is said to end soon.
    """
    view = View(facts, lead_days)
    history = judge_history(earlier, make_moment(facts))
    own = (finding for rule in RULES for finding in rule(view))
    findings = merge((*own, *history.findings))
    verdicts = judge(view)
    graded = grade(findings, verdicts)
    return Report(facts, verdicts, findings, tuple(_unobserved(facts)), graded, history)


def _unobserved(facts: Facts) -> Iterator[Unobserved]:
    if not facts.validates:
        yield Unobserved("DNSSEC and DANE", "the resolver does not validate")
    for fetch in facts.policy_host.fetches:
        if fetch.error == UNOBSERVED:
            yield Unobserved(f"{facts.policy_host.name} at {fetch.address}", fetch.message)
    yield from _unobserved_hosts(facts)
    if facts.skipped_hosts:
        yield Unobserved(f"{facts.skipped_hosts} more MX hosts", "only the first are looked at")
    for target in facts.targets:
        if target.takes_reports is None:
            yield Unobserved(f"rua={target.uri}", target.reason)
        elif target.trial and target.took_trial is None:
            yield Unobserved(f"a test report to rua={target.uri}", target.trial)


def _unobserved_hosts(facts: Facts) -> Iterator[Unobserved]:
    for host in facts.hosts:
        if not facts.has_smtp and host.addresses:
            yield Unobserved(host.name, "SMTP was not asked for")
        for session in host.sessions:
            if not session.is_observed and session.reach not in (Reach.REFUSED, Reach.FORBIDDEN):
                yield Unobserved(f"{host.name} at {session.address}", session.reason)
            ciphers = session.depth.ciphers if session.depth else None
            if ciphers is not None and ciphers.unfinished:
                yield Unobserved(
                    f"some cipher suites of {host.name} at {session.address}", ciphers.unfinished
                )
