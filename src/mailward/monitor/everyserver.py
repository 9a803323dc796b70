"""Whether every authoritative server tells the same: a secondary that lags shows senders an old policy id, MX hosts of
yesterday that are not in the policy any more, or no policy host.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from mailward.core.mtasts import record as sts
from mailward.core.txt import RecordError
from mailward.monitor.expected import DomainFacts, RecordKey, RecordState, State, record_name
from mailward.net.resolver import Answer, Resolver, Status

_MAX_NAMED = 5
_MAX_SHOWN = 300
_LAST_SHARE = 0.07
"""Of a signature's life. Knot renews a tenth of it and some hours before its end, BIND a quarter, PowerDNS a week: this
is later than all of them, and with the usual lives of two to four weeks a day or two before the end.
"""
Everywhere = Mapping[str, Answer[str] | Answer[bytes]]


async def check_servers(
    facts: DomainFacts, resolver: Resolver, now: datetime
) -> tuple[RecordState, RecordState]:
    """Whether they say the same, and how long they can prove it.

    Conflicting where servers of the zone name different MX hosts, or some of them no policy host. Their order, their
    preferences and different addresses are no difference: those are how many share load.
    """
    host = record_name(RecordKey.POLICY_HOST, facts.name)
    mx, v4, v6 = await asyncio.gather(
        resolver.lookup_everywhere(facts.name, "MX", with_signatures=True),
        resolver.lookup_everywhere(host, "A"),
        resolver.lookup_everywhere(host, "AAAA"),
    )
    hosts = {server: _say_hosts(answer) for server, answer in mx.items() if answer.status != Status.FAILED}
    served = {server: _say_served(v4[server], v6.get(server)) for server in v4}
    told = {
        f"MX {facts.name}": hosts,
        host: {server: text for server, text in served.items() if text},
    }
    return _judge_said(told), judge_signatures(facts.name, mx, now)


def judge_signatures(name: str, answers: Everywhere, now: datetime) -> RecordState:
    """Wrong where a server shows signatures that have ended, or that nobody renews in time: validating senders find no
    MX host then, and keep the mail back (RFC 4035 section 5.3.1, RFC 7672 section 2.1.2).
    """
    seconds, ends = now.timestamp(), dict[str, datetime]()
    for server, answer in sorted(answers.items()):
        if answer.signed is not None:
            since, end = answer.signed
            if (end - seconds) < (end - since) * _LAST_SHARE:
                ends[server] = datetime.fromtimestamp(end, UTC)
    if not ends:
        return RecordState(RecordKey.SIGNATURES, State.RIGHT, "")
    shown = [f"{server}: until {end:%Y-%m-%d %H:%M} UTC" for server, end in ends.items()]
    detail = f"the DNSSEC signatures of MX {name} are not renewed; {'; '.join(shown[:_MAX_NAMED])}"
    return RecordState(RecordKey.SIGNATURES, State.WRONG, detail, tuple(shown))


def _judge_said(told: Mapping[str, Mapping[str, str]]) -> RecordState:
    details = [f"{name}: {_name(said)}" for name, said in told.items() if len(set(said.values())) > 1]
    observed = tuple(f"{server}: {text}" for said in told.values() for server, text in sorted(said.items()))
    if details:
        detail = f"the name servers differ about {'; about '.join(details)}"
        return RecordState(RecordKey.SERVERS, State.CONFLICTING, detail, observed)
    # one that answers has nobody to differ from; of none nothing is known
    state = State.RIGHT if any(told.values()) else State.UNKNOWN
    return RecordState(RecordKey.SERVERS, state, "" if any(told.values()) else "no server answered", observed)


def _say_hosts(answer: Answer[str] | Answer[bytes]) -> str:
    hosts = {each.partition(" ")[2].lower() for each in answer.records if isinstance(each, str)}
    return f"MX {', '.join(sorted(hosts))}"[:_MAX_SHOWN] if hosts else "no MX record"


def _say_served(*answers: Answer[str] | Answer[bytes] | None) -> str:
    """Empty: it cannot be said, since one family was not answered and the other has nothing."""
    if any(answer is not None and answer.found for answer in answers):
        return "an address"
    if any(answer is None or answer.status is Status.FAILED for answer in answers):
        return ""
    return "no address"


def _name(said: Mapping[str, str]) -> str:
    """What each server says; those that say what most do not come first, since they are the news."""
    texts = list(said.values())
    ordered = sorted(said.items(), key=lambda pair: (texts.count(pair[1]), pair[0]))
    more = f"; and {len(said) - _MAX_NAMED} more" if len(said) > _MAX_NAMED else ""
    return "; ".join(f"{server}: {text}" for server, text in ordered[:_MAX_NAMED]) + more


def judge_everywhere(state: RecordState, answers: Everywhere) -> RecordState:
    """A right `_mta-sts` record is conflicting where servers tell different ids, or some none: senders see any of
    them. What each said is shown. `answers`: of `Resolver.lookup_everywhere`.
    """
    if len(answers) < 2:
        return state
    # a server that does not answer costs senders time; another one tells them
    said = {server: _say(answer) for server, answer in answers.items()}
    answered = [
        f"{server}: {said[server]}" for server, answer in answers.items() if answer.status != Status.FAILED
    ]
    observed = (*state.observed, *(f"{server}: {text}" for server, text in said.items()))
    if len({text.partition(": ")[2] for text in answered}) < 2:
        return RecordState(state.key, state.state, state.detail, observed)
    more = f"; and {len(answered) - _MAX_NAMED} more" if len(answered) > _MAX_NAMED else ""
    detail = f"the name servers differ: {'; '.join(answered[:_MAX_NAMED])}{more}"
    return RecordState(state.key, State.CONFLICTING, detail, observed)


def _say(answer: Answer[str] | Answer[bytes]) -> str:
    if answer.status is Status.FAILED:
        return answer.reason
    if not answer.found:
        return "no record"
    try:
        return (
            f"id={sts.parse_record([each for each in answer.records if isinstance(each, bytes)]).policy_id}"
        )
    except RecordError as error:
        return str(error)
