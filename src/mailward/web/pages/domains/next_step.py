"""The one thing to do next for a domain."""

from collections.abc import Mapping
from dataclasses import dataclass

from mailward.core.mtasts.policy import Mode
from mailward.store.models import Domain
from mailward.store.services.leaving import Way

_ORDER = ("claim", "mta-sts", "_mta-sts", "_smtp._tls")
_WHY = {
    "claim": "Publish the TXT record that proves the domain is yours.",
    "mta-sts": "Point the policy host name here, so that senders find the policy.",
    "_mta-sts": "Publish the record that announces the policy, with its present id.",
    "_smtp._tls": "Ask senders for reports. This is what shows whether enforce is safe.",
}
_TITLES = {
    "missing": "Next record",
    "wrong": "A record is wrong",
    "conflicting": "Records contradict each other",
    "unknown": "Check a record",
}
_MEND = {
    "claim": "The record that proves the domain is yours",
    "mta-sts": "The policy host name",
    "_mta-sts": "The record that announces the policy",
    "_smtp._tls": "The record that asks senders for reports",
}


@dataclass(frozen=True, slots=True)
class NextStep:
    title: str
    text: str
    anchor: str = ""
    """A place on the set-up page; or else `url_name`."""
    url_name: str = ""
    link: str = ""


def step_out(domain: Domain, way: Way) -> NextStep | None:
    """The same for a domain that leaves MTA-STS or has left; None: it stays."""
    match way:
        case Way.WAITS:
            text = "Leave the records as they are: people are told by mail when they may go."
            return NextStep(
                "The domain leaves MTA-STS", text, url_name="domain-leave", link="How far it has come"
            )
        case Way.REMOVES:
            text = f"No sender holds a policy any more: remove _mta-sts.{domain.name}, then mta-sts.{domain.name}."
            return NextStep("Two records may go", text, url_name="domain-leave", link="How far it has come")
        case Way.LEFT:
            text = (
                "No policy is served, and nobody misses its records. To begin again, write a policy in testing mode; "
                "then publish the records below."
            )
            return NextStep(
                "The domain has left MTA-STS", text, url_name="domain-policy-edit", link="Begin again"
            )
    return None


def next_step(domain: Domain, states: Mapping[str, str]) -> NextStep:
    """`states`: of each expected record; empty where it was never asked for."""
    version = domain.current_version
    if version is None:
        text = "Choose the MX hosts and serve a policy in testing mode: nobody refuses mail because of it."
        return NextStep("Serve a policy", text, url_name="domain-policy-edit", link="Write the policy")
    if not any(states.values()):
        text = "Publish the records below with your DNS provider, then press “Check now”."
        return NextStep("Publish the DNS records", text, anchor=_ORDER[0])
    for key in _ORDER:
        if (state := states.get(key)) not in (None, "right"):
            return NextStep(_TITLES.get(state or "", "Next record"), _say_what(key, state or ""), anchor=key)
    if domain.announced_version_id is None:
        text = "Every policy host is asked for the text first; then the record that announces it comes."
        return NextStep(
            "The policy is on its way", text, url_name="domain-policy", link="How far it has come"
        )
    if domain.test_report_arrived_at is None:
        text = "All records are right. Send a test report to see that reports arrive."
        return NextStep("Try the way of a report", text, anchor="test-report")
    if version.mode == Mode.TESTING:
        text = (
            "Wait for reports, which come once a day. When they show no failures for a week or two, enforce."
        )
        return NextStep("Watch the reports", text, url_name="domain-home", link="See the reports’ figures")
    return NextStep("All is set up", "Nothing to do.", url_name="domain-home", link="See the overview")


def _say_what(key: str, state: str) -> str:
    match state:
        case "wrong" | "conflicting":
            return f"{_MEND[key]}: see below what DNS says and what it should say."
        case "unknown":
            return f"{_MEND[key]}: make sure that it is as below, then press “Check now”."
        case _:
            return _WHY[key]
