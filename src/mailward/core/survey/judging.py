"""The rules of core.check over hundreds of thousands of domains.

Most domains have no TLSA records, and differ in their names only, which decides nothing there beyond which pattern of
a policy covers which MX host: such facts are judged once for each shape they can have. A test holds both ways together.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from mailward.core.check.codes import Code
from mailward.core.check.facts import Facts, Fetch, Lookup, MxHost
from mailward.core.check.finding import merge
from mailward.core.check.rules import RULES
from mailward.core.check.verdict import Outcome, judge
from mailward.core.check.view import View
from mailward.core.dane.judge import HostState
from mailward.core.explain.explanation import Severity
from mailward.core.mtasts.policy import Mode, lint_policy
from mailward.core.mtasts.record import RecordError, parse_record
from mailward.core.names import is_address, matches_mx

MAX_SHAPES = 20_000
_MAX_PATTERNS = 20
_PLAIN_HOST = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Judgement:
    codes: tuple[Code, ...]
    """The worst first, each once."""
    worst: Severity | None
    outcomes: tuple[Outcome, ...]
    """Of each kind of sender, in the order of core.check.verdict.Kind."""
    dane: str
    """How many MX hosts have usable TLSA records that DNSSEC proves: `all`, `some`, `none`; `unusable`: those there are
    cannot be used; `failed`: looking failed; `not-validated`: the resolver proves nothing; empty: no MX host."""
    mode: Mode | None
    """Of the policy that a sender uses who meets the domain for the first time."""


class Judge:
    def __init__(self) -> None:
        self._known: OrderedDict[object, Judgement] = OrderedDict()

    def judge(self, facts: Facts) -> Judgement:
        shape = _shape(facts)
        if shape is None:
            return judge_facts(facts)
        known = self._known.get(shape)
        if known is None:
            known = self._known[shape] = judge_facts(facts)
            if len(self._known) > MAX_SHAPES:
                self._known.popitem(last=False)
        return known


def judge_facts(facts: Facts) -> Judgement:
    view = View(facts)
    findings = merge(finding for rule in RULES for finding in rule(view))
    codes = tuple(dict.fromkeys(finding.code for finding in findings))
    worst = findings[0].severity if findings else None
    outcomes = tuple(verdict.outcome for verdict in judge(view))
    return Judgement(codes, worst, outcomes, _dane(view), view.mode)


def _dane(view: View) -> str:
    if not view.hosts:
        return ""
    if not view.facts.validates:
        return "not-validated"
    states = [host.dane for host in view.hosts if host.dane is not HostState.DEAD]
    if HostState.FAILED in states:
        return "failed"
    usable = states.count(HostState.USABLE)
    if usable:
        return "all" if usable == len(states) else "some"
    return "unusable" if HostState.UNUSABLE in states else "none"


_Shape = tuple[object, ...]


def _shape(facts: Facts) -> _Shape | None:
    """All that the judgement of plain facts depends on; None where names or TLSA records decide."""
    policy_host = facts.policy_host
    if facts.elsewhere or policy_host.as_others is not None or policy_host.caa is not None:
        return None
    exchange = shape_exchange(facts.mx, facts.hosts)
    fetch = _shape_of_fetch(policy_host.fetches, facts.hosts)
    if exchange is None or fetch is None:
        return None
    return (
        facts.validates,
        facts.has_smtp,
        bool(facts.skipped_hosts),
        exchange,
        fetch,
        _shape_of_lookup(facts.sts),
        _shape_of_record(facts.sts.texts),
        _shape_of_lookup(facts.tlsrpt),
        facts.tlsrpt.texts,
        tuple([(target.uri, target.takes_reports, target.took_trial) for target in facts.targets]),
        _shape_of_lookup(policy_host.v4),
        _shape_of_lookup(policy_host.v6),
    )


def _shape_of_record(texts: tuple[bytes, ...]) -> _Shape:
    """Which id a record has that senders can use decides nothing."""
    if not texts:
        return ()
    try:
        parse_record(texts)
    except RecordError:
        return texts
    return ("usable", len(texts) > 1)


def _shape_of_fetch(fetches: tuple[Fetch, ...], hosts: Sequence[MxHost]) -> _Shape | None:
    if not fetches:
        return ()
    if len(fetches) > 1 or fetches[0].tls is not None:
        return None
    [fetch] = fetches
    if not fetch.has_body:
        return fetch.error, fetch.status
    policy, problems = lint_policy(fetch.body)
    said = tuple([(problem.code, problem.level) for problem in problems])
    if policy is None:
        return None, said
    if len(policy.mx) > _MAX_PATTERNS:
        return None
    covers = tuple([tuple([matches_mx(pattern, host.name) for host in hosts]) for pattern in policy.mx])
    return policy.mode, said, covers


def shape_exchange(mx: Lookup, hosts: Sequence[MxHost]) -> _Shape | None:
    """The part of it that MX records and hosts have."""
    shapes = []
    for host in hosts:
        if host.sessions or any(lookup.records for lookup in host.tlsa):
            return None
        shapes.append(_shape_of_host(host))
    names: dict[str, int] = {}
    order = []
    for record in mx.records:
        preference, _, name = record.partition(" ")
        is_root = name in (".", "")
        order.append((is_root, preference == "0") if is_root else names.setdefault(name, len(names)))
    return _shape_of_lookup(mx), tuple(order), tuple(shapes)


def _shape_of_lookup(lookup: Lookup) -> _Shape:
    return lookup.found, lookup.is_secure, bool(lookup.chain), bool(lookup.records)


def _shape_of_host(host: MxHost) -> _Shape:
    return (
        is_address(host.name),
        "" if _PLAIN_HOST.fullmatch(host.name) else host.name,  # what is odd about a name is judged
        _shape_of_lookup(host.v4),
        _shape_of_lookup(host.v6),
        tuple(_shape_of_lookup(lookup) for lookup in host.tlsa),
    )
