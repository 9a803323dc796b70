"""What should come out, kept apart from what does: the lab is compared with this table, never filled from it.

A line has what becomes of the message under each protection, unprotected, testing, enforce, DANE:

    clear        delivered, and anybody on the path could read it
    encrypted    delivered over TLS
    refused      not delivered while it lasts: it waits in the sender's queue
    !            the attacker has read it

and then, after a colon, what the owner hears the next day, no less and no more: the failures that are reported (RFC
8460 section 4.3), by the names of `_TYPES`; `-` where no report comes; nothing where one comes without a failure. After
a slash is what is reported where the sender is Postfix 3.7, which signals nothing, because its log tells it or
`mailward sender` knows it (`=`: the same); without a slash no report comes then.

Each failure that is reported opens one problem, at the MX host or the policy host, and nothing else opens one.
"""

import msgspec

from mailward.core.tlsrpt.results import POLICY_HOST_RESULTS, ResultType
from mailward.lab.evidence import Fate, Outcome
from mailward.lab.experiment import Result
from mailward.lab.scenarios import Cell, Lie, Protection

_TABLE = """
peace                     encrypted             encrypted              encrypted                    encrypted
starttls-stripped         clear!:notls/=        clear!:notls/=         refused:notls                refused:notls
starttls-refused          clear!:notls/=        clear!:notls/=         refused:notls                refused:notls
tls-broken                clear!:invalid/notls  clear!:invalid/notls   refused:invalid              refused:invalid
reply-injected            encrypted             encrypted              encrypted                    encrypted
mitm-self-signed          encrypted!:invalid    encrypted!:invalid     refused:invalid              refused:untrusted
mitm-other-name           encrypted!            encrypted!:host        refused:host                 refused:untrusted
mitm-misissued            encrypted!            encrypted!             encrypted!                   refused:untrusted
mx-forged                 encrypted!            encrypted!:invalid     refused:invalid              refused
policy-blocked-first      clear!:notls/=        clear!:notls+fetch/=   clear!:notls+fetch/=         refused
policy-blocked-later      clear!:notls/=        clear!:notls+fetch/=   refused:notls+fetch/fetch    refused
record-removed-first      clear!:notls/=        clear!:notls/=         clear!:notls/=               refused
record-unanswered-first   clear!:notls/=        clear!:notls/=         clear!:notls/=               refused
record-removed-later      clear!:notls/=        clear!:notls/=         refused:notls                refused
record-forged-later       encrypted!:invalid    encrypted!:invalid     refused:invalid              refused
expired                   encrypted:expired     encrypted:expired      refused:expired              encrypted
tls-1.0                   encrypted             encrypted              refused:invalid              refused:invalid
policy-certificate-first  clear!:notls/=        clear!:notls+webpki/=  clear!:notls+webpki/=        refused:notls
policy-certificate-later  clear!:notls/=        clear!:notls+webpki/=  refused:notls+webpki/webpki  refused:notls
tlsa-wrong                encrypted             encrypted              encrypted                    refused:untrusted
tlsa-rollover             encrypted             encrypted              encrypted                    encrypted
policy-without-mx         encrypted             encrypted:invalid      refused:invalid              encrypted
"""
_TYPES = {
    "notls": ResultType.STARTTLS_NOT_SUPPORTED,
    "host": ResultType.CERTIFICATE_HOST_MISMATCH,
    "untrusted": ResultType.CERTIFICATE_NOT_TRUSTED,
    "expired": ResultType.CERTIFICATE_EXPIRED,
    "invalid": ResultType.VALIDATION_FAILURE,
    "fetch": ResultType.STS_POLICY_FETCH_ERROR,
    "webpki": ResultType.STS_WEBPKI_INVALID,
}
_FATES = {"clear": Fate.CLEAR, "encrypted": Fate.ENCRYPTED, "refused": Fate.REFUSED}
_NO_REPORT, _SAME = "-", "="


class Difference(msgspec.Struct, frozen=True):
    cell: str
    expected: str
    found: str


class Expected(msgspec.Struct, frozen=True):
    outcome: Outcome
    problems: tuple[str, ...] = ()


def expected(*, has_signals: bool = True) -> dict[tuple[str, Protection], Outcome]:
    """For every scenario and protection. `has_signals`: from Postfix 3.10 on."""
    return {
        (name, protection): _read(word, has_signals=has_signals)
        for name, *words in (line.split() for line in _TABLE.strip().split("\n"))
        for protection, word in zip(Protection, words, strict=True)
    }


def compare(result: Result) -> list[Difference]:
    """Where what came out is not what should have come out."""
    table = expected(has_signals=not result.version.startswith("3.7"))
    found = []
    for tried in result.tried:
        outcome = table[tried.cell.scenario.name, tried.cell.protection]
        wanted = Expected(outcome, expected_problems(tried.cell, outcome))
        came = Expected(tried.outcome, tuple(sorted(tried.problems)))
        if came != wanted:
            found.append(Difference(tried.cell.label, _say(wanted), _say(came)))
    return found


def expected_problems(cell: Cell, outcome: Outcome) -> tuple[str, ...]:
    """As `evidence.problems_of` words them, sorted."""
    mx = cell.evil if Lie.MX in cell.scenario.lies else cell.mx
    hosts = dict.fromkeys(POLICY_HOST_RESULTS, f"mta-sts.{cell.domain}")
    return tuple(sorted(f"{each} at {hosts.get(ResultType(each), mx)}" for each in outcome.reported))


def _read(word: str, *, has_signals: bool) -> Outcome:
    fate, _, reports = word.partition(":")
    newer, slash, older = reports.partition("/")
    told = newer if has_signals or older == _SAME else older if slash else _NO_REPORT
    types = sorted(_TYPES[name] for name in told.split("+") if name not in ("", _NO_REPORT))
    return Outcome(_FATES[fate.removesuffix("!")], fate.endswith("!"), tuple(types), told != _NO_REPORT)


def _say(it: Expected) -> str:
    read = "read by the attacker" if it.outcome.is_intercepted else "not read by the attacker"
    reported = ", ".join(it.outcome.reported) or ("nothing" if it.outcome.has_report else "no report")
    return f"{it.outcome.fate}, {read}, reported: {reported}, problems: {', '.join(it.problems) or 'none'}"
