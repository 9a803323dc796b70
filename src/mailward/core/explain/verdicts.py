"""What a check's verdict says, in sentences."""

from datetime import datetime

from mailward.core.check.verdict import Kind, Outcome, Verdict, Why

SENDERS = {
    Kind.MTA_STS: "Senders that enforce MTA-STS",
    Kind.POSTFIX: "Postfix with an MTA-STS plugin",
    Kind.DANE: "Senders that use DANE",
    Kind.OPPORTUNISTIC: "All other senders",
}
_SOON_DAYS = 30
_WHY = {
    Why.NO_RECORD: "the record does not announce the policy that is served",
    Why.NO_POLICY: "there is no policy that they can use",
    Why.TESTING: "the policy is in testing mode",
    Why.MODE_NONE: "the policy says that there is none",
    Why.NO_TLSA: "no MX host has TLSA records that can be used",
    Why.SOME_TLSA: "not every MX host has TLSA records that can be used",
    Why.NOT_VALIDATING: "this machine's resolver does not validate DNSSEC",
    Why.CLEAR_TEXT: "mail to a host without working TLS goes in the clear",
    Why.NOT_OBSERVED: "no MX host could be observed",
    Why.POLICY_NOT_OBSERVED: "the policy host could not be observed",
    Why.MX_UNSIGNED: "the MX records are not signed, so they can be forged",
    Why.NONE: "",
}


def say_verdict(verdict: Verdict, now: datetime) -> str:
    """One sentence, two where something changes soon."""
    who, why = SENDERS[verdict.kind], _WHY[verdict.why]
    match verdict.outcome:
        case Outcome.DELIVERS if verdict.kind is Kind.OPPORTUNISTIC:
            text = f"{who} deliver to you, encrypted to whoever answers."
        case Outcome.DELIVERS:
            text = f"{who} {_verb(verdict)} to you."
        case Outcome.PARTLY:
            text = f"{who} {_verb(verdict)} to some of your MX hosts or addresses only{_except(verdict)}."
        case Outcome.REFUSES:
            text = f"{who} {_verb(verdict, negated=True)} to you: mail waits, and bounces after days."
        case Outcome.UNPROTECTED:
            text = f"{who} {_verb(verdict)} to you without protection: {why}{_refusing(verdict)}."
        case Outcome.NO_MAIL:
            has = "has" if verdict.kind is Kind.POSTFIX else "have"
            text = f"{who} {has} nowhere to deliver: the domain takes no mail."
        case Outcome.UNKNOWN:
            reason = _sentence(why or "the DNS does not answer")
            text = f"Not known: what {_inside(verdict.kind)} {_do(verdict)}. {reason}"
    return f"{text} {_change(verdict, now)}".strip()


def _inside(kind: Kind) -> str:
    """The senders, in the middle of a sentence."""
    who = SENDERS[kind]
    return who if kind is Kind.POSTFIX else who[0].lower() + who[1:]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _verb(verdict: Verdict, *, negated: bool = False) -> str:
    is_one = verdict.kind is Kind.POSTFIX
    if negated:
        return "does not deliver" if is_one else "do not deliver"
    return "delivers" if is_one else "deliver"


def _do(verdict: Verdict) -> str:
    return "does" if verdict.kind is Kind.POSTFIX else "do"


def _except(verdict: Verdict) -> str:
    if not verdict.refused:
        return ""
    names = ", ".join(verdict.refused[:3]) + (" and more" if len(verdict.refused) > 3 else "")
    return f", not to {names}"


def _refusing(verdict: Verdict) -> str:
    if verdict.kind is Kind.DANE and verdict.refused:
        return f"; and not at all to {', '.join(verdict.refused[:3])}"
    return ""


def _change(verdict: Verdict, now: datetime) -> str:
    if verdict.changes_at is None or not verdict.changing:
        return ""
    days = max((verdict.changes_at - now).days, 0)
    when = "today" if days == 0 else f"in {days} day{'s' if days > 1 else ''}"
    verb = "expires" if verdict.changing == 1 else "expire"
    total = len(verdict.accepted)
    what = (
        f"The MX certificate {verb}"
        if total == 1
        else f"{verdict.changing} of {total} MX certificates {verb}"
    )
    return f"{what} {when} ({verdict.changes_at:%Y-%m-%d})."
