"""What somebody should know before they publish a policy, compared with live DNS and what is served now.

What would lock mail out is refused, and told apart: core.mtasts.change.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mailward.core.mtasts.policy import Level, Mode, Policy, lint_policy, serialise_policy
from mailward.core.names import matches_mx
from mailward.monitor.proposals import MxProposal
from mailward.store.models import PolicyVersion

ENOUGH_TESTING = timedelta(days=7)
"""A week has every weekday's senders in it."""
_MOST_PROBLEMS = 3


class Weight(StrEnum):
    """How much it matters; the value is the class of its note."""

    DANGER = "bad"
    """Mail will be refused, or has no protection."""
    CARE = "warn"
    KNOW = "info"


@dataclass(frozen=True, slots=True)
class Remark:
    weight: Weight
    text: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What surrounds the change."""

    live: MxProposal
    current: PolicyVersion | None
    testing_since: datetime | None
    """Since when it has been in testing mode without a break; None: it is not."""
    now: datetime
    problems: tuple[str, ...] = ()
    """What reports show to be broken now, each as "certificate expired: mx1.example.net"."""
    has_reports: bool = True
    """Whether any counted report ever came for the domain."""
    against: str = ""
    """What the last verdict on its way to enforce (core.rollout) says against it; empty: nothing."""


def review(policy: Policy, situation: Situation) -> tuple[Remark, ...]:
    """The gravest first."""
    remarks = [*_on_hosts(policy, situation), *_on_mode(policy, situation), *_on_text(policy)]
    order = list(Weight)
    return tuple(sorted(remarks, key=lambda remark: order.index(remark.weight)))


def _on_hosts(policy: Policy, situation: Situation) -> Iterator[Remark]:
    if policy.mode is Mode.NONE:
        return
    live = situation.live
    if not live.hosts:
        reason = live.reason or "none was found"
        yield Remark(Weight.CARE, f"The MX hosts could not be compared with DNS: {reason}.")
        return
    uncovered = [host for host in live.hosts if not any(matches_mx(pattern, host) for pattern in policy.mx)]
    if uncovered and policy.mode is Mode.TESTING:
        text = f"In DNS, but not in the policy: {', '.join(uncovered)}. Senders will report them as failures."
        yield Remark(Weight.CARE, text)
    unused = [pattern for pattern in policy.mx if not any(matches_mx(pattern, host) for host in live.hosts)]
    if unused:
        yield Remark(
            Weight.KNOW, f"In the policy, but not in DNS now: {', '.join(unused)}. Right for hosts to come."
        )


def _on_mode(policy: Policy, situation: Situation) -> Iterator[Remark]:
    current, since = situation.current, situation.testing_since
    if policy.mode is Mode.ENFORCE and (current is None or current.mode != Mode.ENFORCE):
        if since is not None and situation.now - since < ENOUGH_TESTING:
            yield Remark(
                Weight.CARE,
                f"It has been in testing mode since {since:%-d %B} only; a week shows more senders.",
            )
        yield from _on_evidence(situation)
    if current is not None and current.mode == Mode.ENFORCE and policy.mode is not Mode.ENFORCE:
        text = (
            "Your mail loses its protection as senders learn of this. "
            "Those that do not see the new id keep the old policy until it expires."
        )
        yield Remark(Weight.CARE, text)
    if current is not None and current.mode == Mode.ENFORCE and (gone := set(policy.mx) - set(current.mx)):
        text = (
            f"Senders that still hold the old policy refuse the new hosts ({', '.join(sorted(gone))}) "
            "until they fetch this one: publish it before you change the MX records."
        )
        yield Remark(Weight.CARE, text)


def _on_evidence(situation: Situation) -> Iterator[Remark]:
    """What reports say about enforcing now. Silence is no evidence that all is well."""
    if situation.problems:
        listed = "; ".join(situation.problems[:_MOST_PROBLEMS])
        more = len(situation.problems) - _MOST_PROBLEMS
        text = f"Reports show open problems: {listed}{f'; and {more} more' if more > 0 else ''}. "
        yield Remark(Weight.DANGER, text + "Under enforce, mail that meets them is not delivered.")
    elif situation.against:
        yield Remark(Weight.DANGER, f"The page Rollout calls it not safe: {situation.against}")
    elif not situation.has_reports:
        text = "No counted report has come yet, so nothing shows that senders reach every host in safety."
        yield Remark(Weight.CARE, text)


def _on_text(policy: Policy) -> Iterator[Remark]:
    _, problems = lint_policy(serialise_policy(policy).encode())
    for problem in problems:
        if problem.code == "max-age-short" and policy.mode is Mode.ENFORCE:
            continue  # that is refused, with the same words
        weight = Weight.CARE if problem.level is Level.WARNING else Weight.KNOW
        yield Remark(weight, f"{problem.message[0].upper()}{problem.message[1:]} ({problem.section}).")
