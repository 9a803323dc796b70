"""The decision table: facts -> Decision. docs/sender-decisions.md shows it row by row, with the reasons."""

from mailward.core.dane.judge import DaneState
from mailward.core.mtasts.policy import MAX_AGE_LIMIT, Mode, Policy
from mailward.core.names import is_address
from mailward.core.sending.facts import Decision, Facts, Level, Row, StsState
from mailward.core.sending.overrides import Action, Override

# `dane` falls back to `may` where a host has no TLSA records, so it may replace these, and no stronger level
_NOT_ABOVE_MAY = (Level.NONE, Level.MAY, Level.DANE)
_LABELLED = (Level.MAY, Level.ENCRYPT, Level.DANE)


def decide(facts: Facts) -> Decision:
    """How mail to the domain must be protected. The first row that fits, from the top of the table."""
    override = facts.override
    if override is not None and (decision := _overridden(facts, override)) is not None:
        return decision
    if facts.dane.state is DaneState.FULL:
        return Decision(
            Row.DANE_FULL,
            "every MX host that answers has usable TLSA records" + _aside(facts.dane.reason),
            Level.DANE_ONLY,
        )
    if override is not None and override.action is Action.PIN:
        return _enforce(facts, Policy(Mode.ENFORCE, MAX_AGE_LIMIT, override.match), _told(override))
    if facts.sts.state is StsState.UNREADABLE:
        return Decision(
            Row.CACHE_UNREADABLE, f"the cache cannot be read: {facts.sts.reason}", is_deferral=True
        )
    policy = facts.sts.policy
    if policy is not None and policy.mode is Mode.ENFORCE:
        return _enforce(facts, policy)
    if facts.dane.state is DaneState.PARTIAL:
        return _partial_dane(facts)
    if facts.dane.state is DaneState.UNKNOWN:
        return _unknown_dane(facts)
    return _without_dane(facts)


def usable_names(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The mx patterns that a certificate can match, once each, in lower case."""
    # an address in `match` would break Postfix's comparison of names, and no MX record holds one
    names = dict.fromkeys(pattern.lower() for pattern in patterns)
    return tuple(name for name in names if not _looks_like_address(name))


def _looks_like_address(name: str) -> bool:
    return is_address(name) or name.rpartition(".")[2].isdigit()


def _overridden(facts: Facts, override: Override) -> Decision | None:
    told = _told(override)
    if override.action is Action.IGNORE:
        return Decision(Row.OVERRIDE_IGNORE, told)
    if override.action is Action.REQUIRE and override.match:
        return Decision(Row.OVERRIDE_SECURE, told, Level.SECURE, match=override.match)
    if override.action is Action.REQUIRE:
        return Decision(Row.OVERRIDE_DANE_ONLY, told, Level.DANE_ONLY)
    if override.action is Action.RELAX:
        return Decision(Row.OVERRIDE_RELAX, told, Level(override.level) if override.level else None)
    return None


def _enforce(facts: Facts, policy: Policy, pinned: str = "") -> Decision:
    match = usable_names(policy.mx)
    if not match:
        reason = "the policy enforces, but names no host that mail could go to"
        return Decision(Row.STS_ENFORCE_NO_NAME, reason, is_deferral=True)
    row, reason = Row.STS_ENFORCE, "an enforcing MTA-STS policy"
    if pinned:
        row, reason = Row.STS_PINNED, pinned
    elif facts.dane.state is DaneState.PARTIAL:
        row, reason = Row.STS_ENFORCE_PARTIAL_DANE, f"{reason}; DANE is partial: {facts.dane.reason}"
    elif facts.dane.state is DaneState.UNKNOWN:
        row, reason = Row.STS_ENFORCE_UNKNOWN_DANE, f"{reason}; DANE is not known: {facts.dane.reason}"
    return Decision(row, reason, Level.SECURE, match=match, policy=policy, policy_domain=facts.domain)


def _partial_dane(facts: Facts) -> Decision:
    if facts.site.default_level not in _NOT_ABOVE_MAY:
        reason = f"{facts.dane.reason}; the site's default level may be stronger than `dane` for the others"
        return Decision(Row.DANE_PARTIAL_DEFAULT, reason)
    return Decision(
        Row.DANE_PARTIAL,
        facts.dane.reason,
        Level.DANE,
        policy=_testing(facts),
        policy_domain=facts.domain,
    )


def _unknown_dane(facts: Facts) -> Decision:
    if facts.site.default_level in _NOT_ABOVE_MAY:
        # Postfix asks again by itself, host by host, and defers only what it cannot look up either
        return Decision(
            Row.DANE_UNKNOWN,
            f"left to Postfix: {facts.dane.reason}",
            Level.DANE,
            policy=_testing(facts),
            policy_domain=facts.domain,
        )
    return Decision(
        Row.DANE_UNKNOWN_DEFERRED, f"DANE cannot be ruled out: {facts.dane.reason}", is_deferral=True
    )


def _without_dane(facts: Facts) -> Decision:
    policy, state, reason = facts.sts.policy, facts.sts.state, facts.sts.reason
    if policy is not None and policy.mode is Mode.TESTING:
        level = facts.site.default_level
        if level not in _LABELLED:
            return Decision(Row.STS_TESTING_DEFAULT, "a testing policy; the site's default level holds")
        return Decision(
            Row.STS_TESTING,
            f"a testing policy: signals of the level {level} are labelled with it",
            level,
            policy=policy,
            policy_domain=facts.domain,
        )
    if policy is not None:
        return Decision(Row.STS_NONE, "the policy says that there is none")
    if state is StsState.RECORD_FAILED and facts.site.defer_on_record_failure:
        return Decision(Row.RECORD_FAILED_DEFERRED, reason, is_deferral=True)
    rows = {
        StsState.RECORD_FAILED: Row.RECORD_FAILED,
        StsState.FETCH_FAILED: Row.FETCH_FAILED,
        StsState.EXPIRED: Row.STS_EXPIRED,
    }
    return Decision(rows.get(state, Row.NOTHING), reason or "neither DANE nor MTA-STS")


def _testing(facts: Facts) -> Policy | None:
    policy = facts.sts.policy
    return policy if policy is not None and policy.mode is Mode.TESTING else None


def _told(override: Override) -> str:
    return f"override of {override.domain} until {override.until}: {override.reason}"


def _aside(text: str) -> str:
    return f" ({text})" if text else ""
