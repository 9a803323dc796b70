"""Whether every authoritative server tells the same policy id: a secondary that lags shows senders an old one."""

from collections.abc import Mapping

from mailward.core.mtasts import record as sts
from mailward.core.txt import RecordError
from mailward.monitor.expected import RecordState, State
from mailward.net.resolver import Answer, Status

_MAX_NAMED = 5


def judge_everywhere(state: RecordState, answers: Mapping[str, Answer[str] | Answer[bytes]]) -> RecordState:
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
