"""What a failure at a CA means: whose fault it is, and how long to leave it."""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

_FIRST_NAME_WAIT = timedelta(minutes=1)
_LONGEST_NAME_WAIT = timedelta(hours=12)
_FIRST_CA_WAIT = timedelta(minutes=1)
_LONGEST_CA_WAIT = timedelta(hours=1)
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?", re.ASCII)
_URL = re.compile(r"https?://\S+")
# as Let's Encrypt and others word them; who names the name needs none of these
_OF_A_NAME = re.compile(
    r"\b(?:exact set|duplicate|(?:each|per|registered|same|this) (?:set of )?(?:domain|fqdn|host|identifier|name)s?)\b"
)
_OF_OURS = re.compile(
    r"\b(?:accounts?|address(?:es)?|busy|capacity|clients?|ip|ipv[46]|maintenance|networks?|overload\w*|quota"
    r"|registrations?|servers?|service|subnets?|unavailable)\b"
)
_SEVERAL = 3
_TOGETHER = timedelta(minutes=10)
_AFTER_SILENCE = tuple(timedelta(minutes=each) for each in (1, 2, 20))
_LONGEST_TOLD_WAIT = timedelta(days=8)
"""A Retry-After beyond this is no advice: the longest limit of a public CA is a week."""

LONGEST_WAIT = timedelta(days=9)
"""Nothing is put off for longer: a later time was written down by a clock that was wrong."""


class Scope(StrEnum):
    CA = "ca"
    """The CA is down, busy, or has had enough of us: no name is asked for there until later."""
    NAME = "name"
    """It would not give this one name."""
    ORDER = "order"
    """This order is lost; another one may be placed at once."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A CA that did not give a certificate."""

    scope: Scope
    words: str
    """The CA's own."""
    code: str = ""
    """The ACME error type without its prefix (RFC 8555 section 6.7); empty where the CA said none."""
    retry_after: timedelta | None = None


# RFC 8555 §6.7 and §7.1.6; everything else is about the name that we ask for
_OF_THE_CA = frozenset(
    {
        "accountDoesNotExist",
        "badNonce",
        "badSignatureAlgorithm",
        "externalAccountRequired",
        "invalidContact",
        "rateLimited",
        "serverInternal",
        "unsupportedContact",
        "userActionRequired",
    }
)
_OF_THE_ORDER = frozenset({"malformed", "orderNotReady", "badCSR"})


def scope_of(code: str, status: int | None = None) -> Scope:
    if code in _OF_THE_CA or (status is not None and (status >= 500 or status == 429)):
        return Scope.CA
    return Scope.ORDER if code in _OF_THE_ORDER else Scope.NAME


class Limited:
    """The names that a CA has limited lately, in words that do not say whom they concern. Bounded by the orders under
    way: once there are several, the CA is left alone.
    """

    def __init__(self) -> None:
        self._at: dict[str, datetime] = {}

    def are_several(self, name: str, now: datetime) -> bool:
        """With this one."""
        self._at = {each: at for each, at in self._at.items() if abs(now - at) < _TOGETHER} | {name: now}
        return len(self._at) >= _SEVERAL

    def forget(self) -> None:
        """The CA has given a certificate: none of those limits was ours."""
        self._at.clear()


def narrow(fault: Fault, name: str, limited: Limited, now: datetime) -> Fault:
    """As it concerns a domain: a limit that the CA puts on that name, or on one above it, leaves all others alone.

    Public CAs have the limits of a name, of an account and of an address under one code, and tell them apart in words
    alone. What words of another CA mean nobody knows: one name that waits is less harm than all of them, until several
    different names meet the same within minutes.
    """
    if fault.code != "rateLimited" or fault.scope is not Scope.CA:
        return fault
    # the page about a name's limit may have "per-account" in its address
    words = _URL.sub(" ", fault.words.lower())
    labels = name.split(".")
    above = {".".join(labels[at:]) for at in range(len(labels) - 1)}
    said = set(_NAME.findall(words))
    is_about = any(word in above or word.removeprefix("mta-sts.") in above for word in said)
    if is_about or _OF_A_NAME.search(words) is not None:
        return replace(fault, scope=Scope.NAME)
    if _OF_OURS.search(words) is not None or limited.are_several(name, now):
        return fault
    return replace(fault, scope=Scope.NAME)


def still_waits(until: datetime | None, now: datetime) -> bool:
    return until is not None and now < until <= now + LONGEST_WAIT


def wait_for_name(failures: int, fault: Fault, chance: float) -> timedelta:
    """Until this name is asked for again at the same CA. `failures` counts this one; doubles twice each time: public
    CAs allow five failed validations an hour.
    """
    wait = min(_LONGEST_NAME_WAIT, _FIRST_NAME_WAIT * 4 ** min(max(failures - 1, 0), 8))
    return max(_spread(wait, chance), told_wait(fault))


def wait_for_ca(failures: int, fault: Fault, chance: float) -> timedelta:
    """Until anything is asked of this CA again."""
    wait = min(_LONGEST_CA_WAIT, _FIRST_CA_WAIT * 2 ** min(max(failures - 1, 0), 8))
    return max(_spread(wait, chance), told_wait(fault))


def wait_for_answer(failures: int) -> timedelta:
    """At least so long after a failure no CA is asked again, though the address that did not answer does now. Let's
    Encrypt takes five that fail an hour, and what is silent from one node need not be from another.
    """
    return _AFTER_SILENCE[min(failures, len(_AFTER_SILENCE)) - 1]


def wait_for_claim(age: timedelta) -> timedelta:
    """Between two looks at whether a new domain leads to us, by how long it has been waited for."""
    return max(timedelta(seconds=2), min(age / 20, timedelta(hours=1)))


def told_wait(fault: Fault) -> timedelta:
    """What the CA itself asks for, within reason."""
    return min(fault.retry_after or timedelta(0), _LONGEST_TOLD_WAIT)


def _spread(wait: timedelta, chance: float) -> timedelta:
    return wait * (0.75 + chance / 2)
