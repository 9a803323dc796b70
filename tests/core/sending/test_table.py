"""A test per row of the decision table; the table of the documentation has the same rows in the same order."""

import datetime as dt
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.dane.judge import DaneFinding, DaneState
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain
from mailward.core.postfix.answer import render
from mailward.core.postfix.socketmap import Dialect
from mailward.core.sending.facts import Decision, Facts, Level, Row, Site, StsFinding, StsState
from mailward.core.sending.overrides import Action, Override
from mailward.core.sending.table import decide

DOMAIN = Domain("example.com")
DOCUMENT = Path(__file__).parents[3] / "docs" / "sender-decisions.md"
ENFORCE = Policy(Mode.ENFORCE, 86400, ("mx.example.com", "*.example.net"))
TESTING = Policy(Mode.TESTING, 86400, ("mx.example.com",))
NONE = Policy(Mode.NONE, 86400)
SECURE = "OK secure match=mx.example.com:.example.net servername=hostname"


def live(policy: Policy) -> StsFinding:
    return StsFinding(StsState.LIVE, policy)


def dane(state: DaneState) -> DaneFinding:
    return DaneFinding(state, "why")


def override(action: Action, *match: str, level: str = "") -> Override:
    return Override("example.com", action, "contract", dt.date(2027, 1, 1), match, level)


ABSENT = StsFinding(StsState.ABSENT)
MAY, ENCRYPT, UNTOLD = Site(Level.MAY), Site(Level.ENCRYPT), Site()
OFF, FULL, PARTIAL, UNKNOWN = (
    dane(state) for state in (DaneState.OFF, DaneState.FULL, DaneState.PARTIAL, DaneState.UNKNOWN)
)
REQUIRE = override(Action.REQUIRE, "mx.example.com")

# row, facts, what Postfix 3.4 is told
CASES = [
    (Row.OVERRIDE_IGNORE, Facts(DOMAIN, FULL, live(ENFORCE), MAY, override(Action.IGNORE)), "NOTFOUND "),
    (
        Row.OVERRIDE_SECURE,
        Facts(DOMAIN, FULL, live(NONE), MAY, REQUIRE),
        "OK secure match=mx.example.com serv",
    ),
    (Row.OVERRIDE_DANE_ONLY, Facts(DOMAIN, OFF, ABSENT, MAY, override(Action.REQUIRE)), "OK dane-only"),
    (Row.OVERRIDE_RELAX, Facts(DOMAIN, FULL, live(ENFORCE), MAY, override(Action.RELAX)), "NOTFOUND "),
    (
        Row.OVERRIDE_RELAX,
        Facts(DOMAIN, FULL, live(ENFORCE), ENCRYPT, override(Action.RELAX, level="may")),
        "OK may",
    ),
    (Row.DANE_FULL, Facts(DOMAIN, FULL, live(ENFORCE), MAY), "OK dane-only"),
    (Row.DANE_FULL, Facts(DOMAIN, FULL, ABSENT, UNTOLD, override(Action.PIN, "mx.a.b")), "OK dane-only"),
    (
        Row.STS_PINNED,
        Facts(DOMAIN, OFF, live(NONE), MAY, override(Action.PIN, "mx.example.com")),
        "OK secure match=mx.example.com servername",
    ),
    (
        Row.CACHE_UNREADABLE,
        Facts(DOMAIN, OFF, StsFinding(StsState.UNREADABLE), MAY),
        "TEMP cache-unreadable: ",
    ),
    (Row.STS_ENFORCE, Facts(DOMAIN, OFF, live(ENFORCE), UNTOLD), SECURE),
    (Row.STS_ENFORCE_PARTIAL_DANE, Facts(DOMAIN, PARTIAL, live(ENFORCE), MAY), SECURE),
    (Row.STS_ENFORCE_UNKNOWN_DANE, Facts(DOMAIN, UNKNOWN, live(ENFORCE), MAY), SECURE),
    (
        Row.STS_ENFORCE_NO_NAME,
        Facts(DOMAIN, OFF, live(Policy(Mode.ENFORCE, 86400, ("192.0.2.1",))), MAY),
        "TEMP sts-enforce-no-name: ",
    ),
    (Row.DANE_PARTIAL, Facts(DOMAIN, PARTIAL, live(TESTING), MAY), "OK dane"),
    (Row.DANE_PARTIAL_DEFAULT, Facts(DOMAIN, PARTIAL, ABSENT, ENCRYPT), "NOTFOUND "),
    (Row.DANE_PARTIAL_DEFAULT, Facts(DOMAIN, PARTIAL, ABSENT, UNTOLD), "NOTFOUND "),
    (Row.DANE_UNKNOWN, Facts(DOMAIN, UNKNOWN, ABSENT, Site(Level.DANE)), "OK dane"),
    (Row.DANE_UNKNOWN_DEFERRED, Facts(DOMAIN, UNKNOWN, ABSENT, UNTOLD), "TEMP dane-unknown-deferred: "),
    (Row.DANE_UNKNOWN_DEFERRED, Facts(DOMAIN, UNKNOWN, live(NONE), ENCRYPT), "TEMP dane-unknown-deferred: "),
    (Row.STS_TESTING, Facts(DOMAIN, OFF, live(TESTING), MAY), "NOTFOUND "),
    (Row.STS_TESTING_DEFAULT, Facts(DOMAIN, OFF, live(TESTING), UNTOLD), "NOTFOUND "),
    (Row.STS_TESTING_DEFAULT, Facts(DOMAIN, OFF, live(TESTING), Site(Level.SECURE)), "NOTFOUND "),
    (Row.STS_NONE, Facts(DOMAIN, OFF, live(NONE), MAY), "NOTFOUND "),
    (Row.STS_EXPIRED, Facts(DOMAIN, OFF, StsFinding(StsState.EXPIRED), MAY), "NOTFOUND "),
    (Row.RECORD_FAILED, Facts(DOMAIN, OFF, StsFinding(StsState.RECORD_FAILED), MAY), "NOTFOUND "),
    (
        Row.RECORD_FAILED_DEFERRED,
        Facts(DOMAIN, OFF, StsFinding(StsState.RECORD_FAILED), Site(Level.MAY, defer_on_record_failure=True)),
        "TEMP record-failed-deferred: ",
    ),
    (Row.FETCH_FAILED, Facts(DOMAIN, OFF, StsFinding(StsState.FETCH_FAILED), MAY), "NOTFOUND "),
    (Row.NOTHING, Facts(DOMAIN, dane(DaneState.ABSENT), ABSENT, MAY), "NOTFOUND "),
]


@pytest.mark.parametrize("row, facts, answer", CASES, ids=[f"{row[0]}-{n}" for n, row in enumerate(CASES)])
def test_rows(row: Row, facts: Facts, answer: str) -> None:
    decision = decide(facts)
    assert decision.row is row
    reply = render(decision, Dialect.PLAIN).decode()
    assert reply == answer if not answer.endswith((": ", "serv", "servername")) else reply.startswith(answer)


def test_every_row_has_a_test_and_stands_in_the_documentation() -> None:
    documented = re.findall(r"^\| `([a-z0-9-]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert documented == [row.value for row in Row]
    # the key alone decides that one: tests/sender/test_answers.py
    assert {row for row, _, _ in CASES} | {Row.NOT_A_DOMAIN} == set(Row)


def test_s17_a_testing_policy_is_labelled_at_the_site_s_own_level() -> None:
    for level in (Level.MAY, Level.ENCRYPT, Level.DANE):
        reply = render(decide(Facts(DOMAIN, OFF, live(TESTING), Site(level))), Dialect.TLSRPT)
        assert reply.startswith(f"OK {level} policy_type=sts policy_domain=example.com".encode())


facts = st.builds(
    Facts,
    st.just(DOMAIN),
    st.builds(dane, st.sampled_from(DaneState)),
    st.sampled_from(
        [live(ENFORCE), live(TESTING), live(NONE), *(StsFinding(s) for s in StsState if s != "live")]
    ),
    st.builds(Site, st.none() | st.sampled_from(Level), st.booleans()),
)
# what each level gives at least, where a host has no TLSA records and the certificate is bad
STRENGTH = {Level.NONE: 0, Level.MAY: 1, Level.DANE: 1, Level.ENCRYPT: 2}


@given(facts)
def test_s17_an_enforcing_policy_is_never_answered_with_less(facts: Facts) -> None:
    if facts.sts.policy == ENFORCE:
        decision = decide(facts)
        assert decision.is_deferral or decision.level in (Level.SECURE, Level.DANE_ONLY)


@given(facts, st.sampled_from(Dialect))
def test_the_site_s_default_level_is_never_lowered(facts: Facts, dialect: Dialect) -> None:
    reply = render(decide(facts), dialect).decode().split()
    if reply[0] == "OK":
        default = facts.site.default_level
        level = Level(reply[1])
        assert (
            level in (Level.SECURE, Level.DANE_ONLY) or STRENGTH[level] >= STRENGTH[default or Level.SECURE]
        )


@given(facts)
def test_without_a_default_level_only_strict_levels_are_answered(facts: Facts) -> None:
    decision: Decision = decide(Facts(DOMAIN, facts.dane, facts.sts, UNTOLD))
    assert decision.level in (None, Level.SECURE, Level.DANE_ONLY)
