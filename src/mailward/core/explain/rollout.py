"""What the verdict on a rollout says, in sentences."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

from mailward.core.explain.explanation import Explanation, Severity
from mailward.core.rollout.verdict import Code, Reason, State, Verdict

_NAMED = 3
_LISTED = 30
_WIDTH = 76
STATES: Mapping[State, tuple[str, str]] = {
    State.NO_POLICY: (
        "No policy",
        "There is no policy yet. Begin in testing mode: nobody refuses mail because of it.",
    ),
    State.NONE: ("Mode none", "The policy says that there is none: the domain is leaving MTA-STS."),
    State.BLOCKED: ("Not safe", "Do not enforce yet: mail would be refused."),
    State.WAITING: (
        "Not enough known",
        "Nothing seen speaks against enforce, and too little was seen to be sure.",
    ),
    State.READY: ("Ready", "Enforce is safe by all that was seen."),
    State.ENFORCED: ("Enforced", "The policy is enforced, and nothing seen shows that mail is refused."),
    State.AT_RISK: (
        "Enforced, at risk",
        "The policy is enforced, and senders that follow it refuse some mail.",
    ),
}
"""A label and a sentence for each."""

LEFT = ("Has left", "The domain has left MTA-STS. To begin again, write a policy in testing mode.")
"""The same for a domain that had a policy, and left by the plan."""

JUMPED = "refusals-jumped"
"""The code of the problem that jumping failures under enforce open."""

JUMP = Explanation(
    code=JUMPED,
    title="Refused sessions jumped under enforce",
    clause="far more sessions with DOMAIN are refused than before",
    meaning=(
        "The policy of DOMAIN is enforced, and reports of the last days tell of many more refused sessions than "
        "before. Mail that met them waits at its senders. Nothing was changed because of it."
    ),
    severity=Severity.CRITICAL,
    steps=(
        "See who reports it, for which MX host, and from which addresses: the failures on the domain's Overview.",
        "See what our own probes found at the MX hosts: the domain's Checks. A fault there is yours to mend.",
        (
            "If the probes find nothing and one sender or network reports it, the policy is doing its work: somebody "
            "on the path between that sender and you may be in the way. Keep `mode: enforce`."
        ),
        "Go back to `testing` only for a fault of your own that takes days to mend.",
    ),
    section="RFC 8461 section 10",
    attack=(
        "Failures that appear at once, from some networks only, while the MX hosts look right from elsewhere, are what "
        "an attack on the connection looks like. To weaken the policy now is what an attacker would want."
    ),
)


def say_state(state: State) -> str:
    return STATES[state][1]


def label_state(state: State) -> str:
    return STATES[state][0]


def say_reason(reason: Reason) -> str:
    """One sentence."""
    return _SENTENCES[reason.code].format(
        about=_name(reason.about), have=f"{reason.have:,}", need=f"{reason.need:,}", days=_days(reason.have)
    )


def say_verdict(verdict: Verdict) -> str:
    """The whole of it, for the history and for the command line."""
    return " ".join([say_state(verdict.state), *(say_reason(reason) for reason in verdict.reasons)])


def say_stepped_back(domain: str, hosts: Sequence[str], old_copies: str) -> tuple[str, list[str]]:
    """Subject and lines of the mail. `old_copies`: how long some senders enforce all the same."""
    happened = (
        f"The MTA-STS policy of {domain} was in mode enforce, and is in mode testing now: people of yours chose that "
        "for this case. Our own probes showed, twice in a row, that strict senders refuse every MX host: "
        f"{_name(tuple(hosts))}. Each has a fault of its own: no STARTTLS, or a certificate that is not valid."
    )
    means = f"From now on mail to {domain} is not protected. {old_copies}"
    mend = (
        "Mend the MX hosts first: the domain's page Checks says what is wrong with each. Then enforce again, on its "
        "page Rollout. It is not enforced again by itself, unless that was chosen there too."
    )
    return f"{domain}: the MTA-STS policy went back to testing", _paragraphs(happened, means, mend)


def say_enforced(domains: Sequence[str]) -> tuple[str, list[str]]:
    """Subject and lines of the mail about domains, at least one, that were enforced by themselves."""
    count = len(domains)
    subject = f"{domains[0]}: the MTA-STS policy is enforced now"
    happened = "The conditions held for as long as was chosen, so this policy went from testing to enforce by itself:"
    if count > 1:
        subject = f"{count:,} domains: the MTA-STS policies are enforced now"
        happened = happened.replace("this policy", f"these {count:,} policies")
    shown = [f"  {each}" for each in domains[:_LISTED]]
    if count > _LISTED:
        shown.append(f"  and {count - _LISTED:,} more: the page Rollout")
    means = (
        "From now on senders that follow MTA-STS deliver by TLS, to an MX host that the policy names and whose "
        "certificate is valid, or not at all."
    )
    mind = (
        "A new MX host has to be in the policy before mail goes there: enter it on the domain's page MX ahead of time. "
        "The page Rollout says on what evidence it was done."
    )
    return subject, [*_paragraphs(happened), "", *shown, "", *_paragraphs(means, mind)]


def _paragraphs(*texts: str) -> list[str]:
    lines = [line for each in texts for line in (*wrap(each, _WIDTH, break_long_words=False), "")]
    return lines[:-1]


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"


def _name(about: tuple[str, ...]) -> str:
    more = len(about) - _NAMED
    return ", ".join(about[:_NAMED]) + (f" and {more} more" if more > 0 else "")


_SENTENCES: Mapping[Code, str] = {
    Code.HOST_REFUSED: "Our probes show MX hosts that senders would refuse: {about}.",
    Code.SESSIONS_REFUSED: "Reports show {have} sessions that would have been refused, by: {about}.",
    Code.CERTIFICATE_ENDS: "A certificate of {about} ends in {days}; {need} are wanted.",
    Code.CHANGE_REFUSED: "The change itself would be refused: {about}",
    Code.NOT_SERVED: "The policy is not served: prove that the domain is yours.",
    Code.NOT_SEEN: "The policy was not seen from outside with its present text.",
    Code.ID_NOT_SEEN: "The record in DNS does not have the id of this policy yet.",
    Code.TESTING_SHORT: "In testing mode for {days} of {need}.",
    Code.NO_REPORTS: "No counted report tells of a sender that applied the policy. No data is not no failure.",
    Code.REPORTS_OLD: "The last reports are {days} old; at most {need} are wanted.",
    Code.FEW_REPORTERS: "Reporters that applied the policy: {have} of {need}.",
    Code.FEW_SESSIONS: "Reported sessions under the policy: {have} of {need}.",
    Code.NOT_FETCHED: "No sender has fetched the policy from us.",
    Code.NOT_CHECKED: "Our probes have not looked at the domain yet.",
    Code.CHECK_OLD: "Our probes last looked {days} ago.",
    Code.HOST_UNOBSERVED: "Our probes could not observe the MX hosts. {about}",
}
