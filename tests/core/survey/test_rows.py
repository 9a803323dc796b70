"""Facts become a row, and the row gives them back; judging by shape says what the rules say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.check.made import DOMAIN, facts
from tests.core.check.test_rules import CASES

from mailward.core.check.codes import Code
from mailward.core.check.facts import Facts, Found, Lookup, MxHost
from mailward.core.survey.classes import ErrorClass, classify
from mailward.core.survey.columns import AT, COLUMNS
from mailward.core.survey.judging import Judge, judge_facts
from mailward.core.survey.listing import Entry
from mailward.core.survey.row import MAX_POLICY_TEXT, make_row, read_facts, unasked_policy_host

ENTRY = Entry(3, 17, DOMAIN)


def as_surveyed(whole: Facts) -> Facts:
    """Without what a survey does not look at."""
    hosts = tuple(replace(host, sessions=()) for host in whole.hosts)
    policy_host = replace(whole.policy_host, caa=None, as_others=None, fetches=whole.policy_host.fetches[-1:])
    fetches = tuple(replace(fetch, tls=None) for fetch in policy_host.fetches)
    return replace(
        whole,
        at=whole.at.replace(microsecond=0),
        hosts=hosts,
        policy_host=replace(policy_host, fetches=fetches),
        elsewhere=(),
        targets=tuple(replace(target, took_trial=None, trial="") for target in whole.targets),
        has_smtp=False,
    )


@pytest.mark.parametrize(("code", "whole"), [(code, whole) for code, _, whole in CASES])
def test_a_row_is_enough_to_judge_anew(code: Code, whole: Facts) -> None:
    surveyed = as_surveyed(whole)
    judged = judge_facts(surveyed)
    row = make_row(ENTRY, surveyed, judged, 12, ["example.test"])
    assert len(row) == len(COLUMNS)
    again = read_facts(row)
    assert judge_facts(again) == judged
    assert (again.mx, again.sts, again.tlsrpt.texts) == (surveyed.mx, surveyed.sts, surveyed.tlsrpt.texts), (
        code
    )
    assert [each.addresses for each in again.hosts] == [each.addresses for each in surveyed.hosts]


def test_columns_are_what_they_were() -> None:
    """Their names and order are promised: a new one goes to the end."""
    assert [column.name for column in COLUMNS][:7] == [
        "line",
        "rank",
        "domain",
        "at",
        "took_ms",
        "status",
        "error",
    ]
    assert len({column.name for column in COLUMNS}) == len(COLUMNS) == 49


def test_a_long_policy_is_cut_and_its_size_told() -> None:
    whole = facts()
    [fetch, *_] = whole.policy_host.fetches
    long = replace(fetch, body=fetch.body + b"x: " + b"y" * 60_000)
    surveyed = as_surveyed(replace(whole, policy_host=replace(whole.policy_host, fetches=(long,))))
    row = make_row(ENTRY, surveyed, judge_facts(surveyed), 12, [])
    assert (len(str(row[AT["policy_text"]])), row[AT["policy_bytes"]]) == (MAX_POLICY_TEXT, len(long.body))


lookups = st.builds(
    Lookup,
    st.just("mx.example.test"),
    st.just("A"),
    st.sampled_from(Found),
    st.sampled_from([(), ("192.0.2.1",)]),
    st.just(()),
    st.booleans(),
    st.sampled_from([(), ("alias.example.test",)]),
    st.just(""),
).map(lambda each: each if each.was_found else replace(each, records=()))
names = st.sampled_from(["a.example.test", "b.example.test", "_c.example.test", "192.0.2.9", DOMAIN])
hosts = st.lists(st.builds(MxHost, names, lookups, lookups), max_size=3, unique_by=lambda host: host.name)


@given(
    hosts, st.lists(names, max_size=4), lookups, lookups, lookups, st.booleans(), st.sampled_from(["a", ""])
)
def test_judging_by_shape_says_what_the_rules_say(
    some: list[MxHost], order: list[str], mx: Lookup, sts: Lookup, tlsrpt: Lookup, validates: bool, null: str
) -> None:
    """Two domains of the same shape and other names, one after the other."""
    judge = Judge()
    for suffix in ("", ".other"):
        records = tuple(f"10 {name}{suffix}" for name in order)
        records = (*records, null) if null else records
        made = Facts(
            DOMAIN,
            facts().at,
            validates,
            replace(mx, kind="MX", records=records if mx.was_found else ()),
            tuple(
                replace(host, name=host.name + suffix) if host.name[0].isalpha() else host for host in some
            ),
            replace(sts, kind="TXT", records=(), texts=()),
            (),
            unasked_policy_host(f"mta-sts.{DOMAIN}"),
            replace(tlsrpt, kind="TXT", records=(), texts=()),
            has_smtp=False,
        )
        assert judge.judge(made) == judge_facts(made)


def test_codes_of_a_class_come_once_and_in_order() -> None:
    codes = (Code.TLSRPT_SEVERAL, Code.MX_NOT_IN_POLICY, Code.STS_RECORD_ID, Code.STS_RECORD_SYNTAX)
    assert classify(codes) == (ErrorClass.RECORD, ErrorClass.COVER, ErrorClass.TLSRPT)
    assert classify([Code.STS_ABSENT, Code.POLICY_TESTING]) == ()
