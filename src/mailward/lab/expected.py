"""What should come out, kept apart from what does: the lab is compared with this table, never filled from it.

A line has what becomes of the message under each protection, unprotected, testing, enforce, DANE:

    clear        delivered, and anybody on the path could read it
    encrypted    delivered over TLS
    refused      not delivered while it lasts: it waits in the sender's queue
    !            the attacker has read it

and then, after a colon, the failures that are reported (RFC 8460 section 4.3), by the names of `_TYPES`. In brackets is
what Postfix itself does not tell: `mailward sender` learns it from Postfix's log, by a look at the host, or while it
looks for the policy, and where it does not look, it stays untold.
"""

import re
from collections.abc import Sequence

import msgspec

from mailward.core.tlsrpt.results import ResultType
from mailward.lab.evidence import Fate, Outcome
from mailward.lab.experiment import Result
from mailward.lab.scenarios import Protection

_TABLE = """
peace                     encrypted           encrypted                  encrypted                  encrypted
starttls-stripped         clear!:(starttls)   clear!:(starttls)          refused:starttls           refused:starttls
starttls-refused          clear!:(starttls)   clear!:(starttls)          refused:starttls           refused:starttls
mitm-self-signed          encrypted!:invalid  encrypted!:invalid         refused:invalid            refused:untrusted
mitm-other-name           encrypted!          encrypted!:(host)          refused:host               refused:untrusted
mitm-misissued            encrypted!          encrypted!                 encrypted!                 refused:untrusted
mx-forged                 encrypted!          encrypted!:(invalid)       refused:(invalid)          refused
policy-blocked-first      clear!:(starttls)   clear!:(starttls)(fetch)   clear!:(starttls)(fetch)   refused
policy-blocked-later      clear!:(starttls)   clear!:(starttls)(fetch)   refused:starttls(fetch)    refused
record-removed-first      clear!:(starttls)   clear!:(starttls)          clear!:(starttls)          refused
record-removed-later      clear!:(starttls)   clear!:(starttls)          refused:starttls           refused
record-forged-later       encrypted!:invalid  encrypted!:invalid         refused:invalid            refused
expired                   encrypted:expired   encrypted:expired          refused:expired            encrypted
tls-1.0                   encrypted           encrypted                  refused:invalid            refused:invalid
policy-certificate-first  clear!:(starttls)   clear!:(starttls)(webpki)  clear!:(starttls)(webpki)  refused:starttls
policy-certificate-later  clear!:(starttls)   clear!:(starttls)(webpki)  refused:starttls(webpki)   refused:starttls
tlsa-wrong                encrypted           encrypted                  encrypted                  refused:untrusted
"""
_TYPES = {
    "starttls": ResultType.STARTTLS_NOT_SUPPORTED,
    "host": ResultType.CERTIFICATE_HOST_MISMATCH,
    "untrusted": ResultType.CERTIFICATE_NOT_TRUSTED,
    "expired": ResultType.CERTIFICATE_EXPIRED,
    "invalid": ResultType.VALIDATION_FAILURE,
    "fetch": ResultType.STS_POLICY_FETCH_ERROR,
    "webpki": ResultType.STS_WEBPKI_INVALID,
}
_FATES = {"clear": Fate.CLEAR, "encrypted": Fate.ENCRYPTED, "refused": Fate.REFUSED}


class Difference(msgspec.Struct, frozen=True):
    cell: str
    expected: str
    found: str


class Expected(msgspec.Struct, frozen=True):
    fate: Fate
    is_intercepted: bool
    signalled: frozenset[str] = frozenset()
    """Result types that Postfix tells of itself, from 3.10 on."""
    looked_up: frozenset[str] = frozenset()
    """Those that are told where somebody looks."""

    def fits(self, outcome: Outcome, *, has_signals: bool) -> bool:
        if (outcome.fate, outcome.is_intercepted) != (self.fate, self.is_intercepted):
            return False
        reported = set(outcome.reported)
        return reported <= self.signalled | self.looked_up and (not has_signals or self.signalled <= reported)


def expected() -> dict[tuple[str, Protection], Expected]:
    """For every scenario and protection."""
    return {
        (name, protection): _read(word)
        for name, *words in (line.split() for line in _TABLE.strip().split("\n"))
        for protection, word in zip(Protection, words, strict=True)
    }


def compare(result: Result) -> list[Difference]:
    """Where what came out is not what should have come out."""
    table = expected()
    has_signals = not result.version.startswith("3.7")
    return [
        Difference(each.cell.label, _say_expected(wanted), _say(each.outcome))
        for each in result.tried
        if not (wanted := table[each.cell.scenario.name, each.cell.protection]).fits(
            each.outcome, has_signals=has_signals
        )
    ]


def _read(word: str) -> Expected:
    fate, _, reports = word.partition(":")
    looked_up = re.findall(r"\((\w+)\)", reports)
    signalled = re.findall(r"\w+", re.sub(r"\(\w+\)", " ", reports))
    return Expected(
        _FATES[fate.removesuffix("!")],
        fate.endswith("!"),
        frozenset(_TYPES[each] for each in signalled),
        frozenset(_TYPES[each] for each in looked_up),
    )


def _say_expected(wanted: Expected) -> str:
    types = [*sorted(wanted.signalled), *(f"perhaps {each}" for each in sorted(wanted.looked_up))]
    return _words(wanted.fate, wanted.is_intercepted, types)


def _say(outcome: Outcome) -> str:
    return _words(outcome.fate, outcome.is_intercepted, outcome.reported)


def _words(fate: Fate, is_intercepted: bool, reported: Sequence[str]) -> str:
    read = "read by the attacker" if is_intercepted else "not read by the attacker"
    return f"{fate}, {read}, reported: {', '.join(reported) or 'nothing'}"
