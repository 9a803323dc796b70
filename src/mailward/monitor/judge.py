"""Judges what DNS answered about a customer's records. Pure: answers in, states out."""

from collections.abc import Sequence

from mailward.core.mtasts import record as sts
from mailward.core.tlsrpt import record as tlsrpt
from mailward.core.txt import NoRecord, RecordError, SeveralRecords
from mailward.core.watch.upkeep import ELSEWHERE, IN_FRONT
from mailward.monitor.expected import CLAIM_PREFIX, DomainFacts, RecordKey, RecordState, State, delegation_of
from mailward.net.resolver import Answer, Status

_MAX_OBSERVED = 20
_MAX_CHARACTERS = 300


def judge_claim(facts: DomainFacts, answer: Answer[bytes]) -> RecordState:
    """The claim is proved by one right record, whatever stands beside it."""
    key, seen = RecordKey.CLAIM, _observe(answer)
    early = _judge_absence(key, answer, f"publish TXT {CLAIM_PREFIX}{facts.claim_token}")
    if early is not None:
        return early
    if f"{CLAIM_PREFIX}{facts.claim_token}".encode() in (txt.strip() for txt in answer.records):
        return RecordState(key, State.RIGHT, "", seen)
    if any(txt.strip().startswith(CLAIM_PREFIX.encode()) for txt in answer.records):
        detail = f"the token is another one; expected {CLAIM_PREFIX}{facts.claim_token}"
        return RecordState(key, State.WRONG, detail, seen)
    return RecordState(key, State.MISSING, f"no TXT record begins with {CLAIM_PREFIX}", seen)


def is_delegated(key: RecordKey, facts: DomainFacts, answer: Answer[bytes] | Answer[str]) -> bool:
    """Whether a CNAME leads to the domain's own label of our zone, which nobody else knows."""
    delegation = delegation_of(key, facts)
    return delegation is not None and delegation.value in answer.chain


def prove_by_delegation(states: Sequence[RecordState], facts: DomainFacts) -> tuple[RecordState, ...]:
    """A CNAME to the domain's own label proves the claim as the TXT record does, which is then not missed."""
    targets = {f"CNAME {data.value}" for key in RecordKey if (data := delegation_of(key, facts)) is not None}
    proof = next((seen for state in states for seen in state.observed if seen in targets), None)
    if proof is None:
        return tuple(states)
    proved = RecordState(RecordKey.CLAIM, State.RIGHT, f"proved by {proof}", (proof,))
    is_open = {RecordKey.CLAIM: {State.MISSING, State.UNKNOWN}}
    return tuple(proved if state.state in is_open.get(state.key, set()) else state for state in states)


def judge_sts(facts: DomainFacts, answer: Answer[bytes], alias: Answer[str]) -> RecordState:
    """`alias` is the answer to a CNAME query for the same name, to notice text that stands beside one."""
    key, seen = RecordKey.STS, _observe(answer, alias)
    if is_delegated(key, facts, answer) and answer.status is not Status.FAILED:
        # what stands there is ours to say: the id of a policy once each host serves it
        waits = not answer.found and facts.policy_id is not None
        return RecordState(key, State.RIGHT, "the policy is not announced yet" if waits else "", seen)
    expected = (
        f"expected v=STSv1; id={facts.policy_id};" if facts.policy_id else _expected_delegation(key, facts)
    )
    early = _judge_absence(key, answer, expected) or _judge_beside(key, answer, alias)
    if early is not None:
        return early
    try:
        record = sts.parse_record(answer.records)
    except RecordError as error:
        return _judge_error(key, error, answer, expected, b"v=sts", seen)
    if facts.policy_id is None and facts.policy_text is not None:
        later = "is told once every policy host serves the policy; leave this one until then"
        detail = f"the id is {record.policy_id}, and ours {later}"
        return RecordState(key, State.WRONG, detail, seen)
    if facts.policy_id is None:
        return RecordState(key, State.WRONG, "the record announces a policy, but none is served yet", seen)
    if record.policy_id != facts.policy_id:
        detail = f"the id is {record.policy_id}, but the policy served now has {facts.policy_id}; {expected}"
        return RecordState(key, State.WRONG, detail, seen)
    return RecordState(key, State.RIGHT, "", seen)


def judge_tlsrpt(facts: DomainFacts, answer: Answer[bytes], alias: Answer[str]) -> RecordState:
    """Right if our address is among the targets: others beside it are the customer's choice."""
    key, seen = RecordKey.TLSRPT, _observe(answer, alias)
    if is_delegated(key, facts, answer) and answer.found:
        return RecordState(key, State.RIGHT, "", seen)
    expected = f"expected rua=mailto:{facts.report_address}"
    early = _judge_absence(key, answer, expected) or _judge_beside(key, answer, alias)
    if early is not None:
        return early
    try:
        record = tlsrpt.parse_record(answer.records)
    except RecordError as error:
        return _judge_error(key, error, answer, expected, b"v=tlsrpt", seen)
    ours = {facts.report_address.lower(), (facts.organisation_address or facts.report_address).lower()}
    # our tokens have no capitals, and people's DNS forms do what they like
    if not ours.isdisjoint(target.address.lower() for target in record.targets):
        others = len(record.targets) - 1
        detail = f"reports also go to {others} other target{'s' if others > 1 else ''}" if others else ""
        return RecordState(key, State.RIGHT, detail, seen)
    detail = f"reports go elsewhere; {expected}, alone or beside the others"
    return RecordState(key, State.WRONG, detail, seen)


def judge_policy_host(
    facts: DomainFacts, answer: Answer[str], ours: Answer[str], alias: Answer[str], served: str | None = None
) -> RecordState:
    """`answer` and `ours` are the addresses of `mta-sts.<domain>` and of our policy host.

    `served` says what a fetch from an address that is not ours brought: empty if it was our policy, else why
    not; None if nothing was fetched.
    """
    key, target = RecordKey.POLICY_HOST, facts.policy_host_name.lower().removesuffix(".")
    seen = _observe(answer, alias)
    if target in answer.chain or is_delegated(key, facts, answer):
        return RecordState(key, State.RIGHT, "" if answer.found else f"{target} itself has no address", seen)
    early = _judge_absence(key, answer, _expected_delegation(key, facts) or f"expected CNAME {target}")
    if early is not None:
        return early
    if alias.found and not answer.chain:
        return RecordState(
            key, State.CONFLICTING, "a CNAME and addresses stand side by side; remove one", seen
        )
    if set(answer.records) & set(ours.records):
        return RecordState(key, State.RIGHT, "", seen)
    if served == "":
        return RecordState(key, State.RIGHT, IN_FRONT, seen)
    if ours.status is Status.FAILED and served is None:
        return RecordState(key, State.UNKNOWN, f"{target} could not be compared: {ours.reason}", seen)
    detail = f"{ELSEWHERE}; expected CNAME {target}, or a reverse proxy that serves this policy"
    return RecordState(key, State.WRONG, f"{detail} ({served})" if served else detail, seen)


def judge_delegated_zone(facts: DomainFacts, answer: Answer[str], servers: Answer[str]) -> RecordState | None:
    """`servers`: the NS records at `mta-sts.<domain>` in the zone above, `answer` its addresses. None: it is not
    delegated to any of ours.
    """
    ours = {name.lower().removesuffix(".") for name in facts.name_servers}
    named = {name.lower().removesuffix(".") for name in servers.records}
    if ours.isdisjoint(named):
        return None
    key, seen = RecordKey.POLICY_HOST, (*(f"NS {name}" for name in sorted(named)), *_observe(answer))
    if others := sorted(named - ours):
        detail = f"it is delegated to {others[0]} as well, which is none of ours; expected NS {', '.join(sorted(ours))}"
        return RecordState(key, State.WRONG, detail, seen[:_MAX_OBSERVED])
    if answer.found:
        return RecordState(key, State.RIGHT, "", seen[:_MAX_OBSERVED])
    if not facts.is_proved:
        detail = "it is delegated to us by NS, and answered for once the domain is proved"
        return RecordState(key, State.WRONG, detail, seen[:_MAX_OBSERVED])
    detail = f"it is delegated to us by NS, but has no address yet: {answer.reason or 'no answer'}"
    return RecordState(key, State.UNKNOWN, detail, seen[:_MAX_OBSERVED])


def _expected_delegation(key: RecordKey, facts: DomainFacts) -> str:
    delegation = delegation_of(key, facts)
    return f"expected CNAME {delegation.value}" if delegation is not None else ""


def judge_misplaced(state: RecordState, name: str, answer: Answer[bytes], start: bytes) -> RecordState:
    """A missing record that stands at `<name>.<domain>`: the provider's form added the domain a second
    time.
    """
    if state.state is not State.MISSING or not any(txt.startswith(start) for txt in answer.records):
        return state
    detail = f"the record stands at {name}: the DNS provider adds the domain by itself"
    return RecordState(state.key, State.WRONG, detail, _observe(answer))


def _judge_absence(key: RecordKey, answer: Answer[bytes] | Answer[str], expected: str) -> RecordState | None:
    seen = _observe(answer)
    if answer.status is Status.FAILED:
        return RecordState(key, State.UNKNOWN, f"could not be asked: {answer.reason}", seen)
    if answer.found:
        return None
    if answer.chain:
        kind = "address" if key is RecordKey.POLICY_HOST else "TXT record"
        return RecordState(
            key, State.WRONG, f"the CNAME leads to {answer.chain[-1]}, which has no {kind}; {expected}", seen
        )
    return RecordState(key, State.MISSING, expected, seen)


def _judge_beside(key: RecordKey, answer: Answer[bytes], alias: Answer[str]) -> RecordState | None:
    if alias.found and not answer.chain:
        detail = "a CNAME and a TXT record stand side by side, and senders see either; remove one"
        return RecordState(key, State.CONFLICTING, detail, _observe(answer, alias))
    return None


def _judge_error(
    key: RecordKey,
    error: RecordError,
    answer: Answer[bytes],
    expected: str,
    start: bytes,
    seen: tuple[str, ...],
) -> RecordState:
    if isinstance(error, SeveralRecords):
        return RecordState(key, State.CONFLICTING, f"{error}; keep one: {expected}", seen)
    meant = any(txt.lower().lstrip(b"\" '\\").startswith(start) for txt in answer.records)
    if isinstance(error, NoRecord) and not meant:
        return RecordState(key, State.MISSING, f"other text stands there; {expected}", seen)
    return RecordState(key, State.WRONG, f"{error}; {expected}", seen)


def _observe(answer: Answer[bytes] | Answer[str], alias: Answer[str] | None = None) -> tuple[str, ...]:
    names = [*answer.chain, *(alias.records if alias is not None else ())]
    seen = [*(f"CNAME {name}" for name in names), *sorted(map(_show, answer.records))]
    return tuple(dict.fromkeys(seen))[:_MAX_OBSERVED]


def _show(record: bytes | str) -> str:
    if isinstance(record, bytes):
        text = "TXT " + record.decode("ascii", "backslashreplace")
    else:
        text = f"{'AAAA' if ':' in record else 'A'} {record}"
    printable = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return printable if len(printable) <= _MAX_CHARACTERS else printable[:_MAX_CHARACTERS] + "..."
