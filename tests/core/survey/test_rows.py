"""Facts become a row, and the row gives them back; judging by shape says what the rules say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.check.made import DOMAIN, facts
from tests.core.check.test_rules import CASES

from mailward.core.check.codes import Code
from mailward.core.check.facts import Facts, Fetch, Found, Lookup, MxHost, PolicyHost
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


POLICIES = [
    b"version: STSv1\nmode: %b\n%bmax_age: %b\n"
    % (mode, b"".join(b"mx: %b\n" % each for each in patterns), age)
    for mode in (b"enforce", b"testing", b"none", b"Enforce")
    for patterns in (
        [],
        [b"a.example.test"],
        [b"*.example.test", b"other.test"],
        [b"a.example.test"] * 2,
        [b"b..test"],
    )
    for age in (b"604800", b"60", b"99999999999")
]
fetches = st.one_of(
    st.builds(Fetch, st.just("192.0.2.1"), body=st.sampled_from([*POLICIES, b"<html>", b""])),
    st.builds(
        lambda error, status: Fetch("192.0.2.1", error, "words", status),
        st.sampled_from(["status", "redirect", "certificate-name", "connect", "unobserved", "tls"]),
        st.sampled_from([None, 404, 503]),
    ),
)
record_texts = st.sampled_from(
    [(b"v=STSv1; id=1;",), (b"v=STSv1; id=2;",), (b"v=STSv1; id=2;", b"x"), (b"v=stsv1; id=1;",)]
)


@given(st.lists(st.tuples(hosts, fetches, record_texts), min_size=2, max_size=5), lookups, st.booleans())
def test_policies_judged_by_shape_are_what_the_rules_say(
    several: list[tuple[list[MxHost], Fetch, tuple[bytes, ...]]], address: Lookup, validates: bool
) -> None:
    judge = Judge()
    for some, fetch, texts in several:
        records = tuple(f"10 {host.name}" for host in some)
        made = Facts(
            DOMAIN,
            facts().at,
            validates,
            Lookup(DOMAIN, "MX", Found.FOUND if some else Found.NODATA, records),
            tuple(some),
            Lookup(f"_mta-sts.{DOMAIN}", "TXT", Found.FOUND, (), texts),
            (),
            PolicyHost(address, address, (fetch,)),
            Lookup(f"_smtp._tls.{DOMAIN}", "TXT", Found.NODATA),
            has_smtp=False,
        )
        assert judge.judge(made) == judge_facts(made)


@pytest.mark.parametrize("whole", [whole for _, _, whole in CASES])
def test_what_was_judged_before_changes_no_judgement(whole: Facts) -> None:
    assert JUDGE.judge(as_surveyed(whole)) == judge_facts(as_surveyed(whole))


JUDGE = Judge()


def test_codes_of_a_class_come_once_and_in_order() -> None:
    codes = (Code.TLSRPT_SEVERAL, Code.MX_NOT_IN_POLICY, Code.STS_RECORD_ID, Code.STS_RECORD_SYNTAX)
    assert classify(codes) == (ErrorClass.RECORD, ErrorClass.COVER, ErrorClass.TLSRPT)
    assert classify([Code.STS_ABSENT, Code.POLICY_TESTING]) == ()
