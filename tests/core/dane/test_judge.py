import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.dane.judge import DaneState, Host, HostState, Outcome, judge

U, N, W, F, D = (
    HostState.USABLE,
    HostState.UNUSABLE,
    HostState.WITHOUT,
    HostState.FAILED,
    HostState.DEAD,
)


def hosts(*states: HostState) -> list[Host]:
    return [Host(f"mx{number}.example.com", state, f"why {number}") for number, state in enumerate(states)]


FINDINGS = [
    ([U], DaneState.FULL, "one host with usable records"),
    ([U, U], DaneState.FULL, "all of them"),
    ([U, F], DaneState.FULL, "one failing MX leaves dane-only in place: Postfix skips it"),
    ([U, D], DaneState.FULL, "a host without address takes no mail"),
    ([U, W], DaneState.PARTIAL, "dane-d22: one without"),
    ([U, N], DaneState.PARTIAL, "one with unusable records only"),
    ([N, N], DaneState.PARTIAL, "dane-d14: TLS is required, nobody is authenticated"),
    ([N, F], DaneState.PARTIAL, "unusable, and one unknown"),
    ([W, F], DaneState.PARTIAL, "dane-d20: one is proved to have none, so that waiting protects nothing"),
    ([F], DaneState.UNKNOWN, "nothing is known"),
    ([F, F], DaneState.UNKNOWN, "nothing is known of any: both could have records"),
    ([F, D], DaneState.UNKNOWN, "and the other takes no mail"),
    ([W, W], DaneState.ABSENT, "dane-d19: proved to have none"),
    ([D], DaneState.ABSENT, "nobody there"),
    ([], DaneState.ABSENT, "a null MX"),
]


@pytest.mark.parametrize("states, expected, reason", FINDINGS, ids=[row[2] for row in FINDINGS])
def test_hosts_of_a_secure_mx(states: list[HostState], expected: DaneState, reason: str) -> None:
    assert judge(Outcome.SECURE, hosts(*states)).state is expected


def test_insecure_mx_records_are_no_dane_whatever_the_hosts_have() -> None:
    finding = judge(Outcome.INSECURE, hosts(U, U))
    assert (finding.state, finding.reason) == (DaneState.ABSENT, "the MX records are not secured by DNSSEC")


def test_dane_d23_a_failed_mx_lookup_is_unknown_and_named() -> None:
    finding = judge(Outcome.FAILED, (), "MX example.com: SERVFAIL")
    assert (finding.state, finding.reason) == (DaneState.UNKNOWN, "MX example.com: SERVFAIL")


def test_the_reason_names_the_lookups_that_failed() -> None:
    assert judge(Outcome.SECURE, hosts(D, F, F)).reason == "why 1; why 2"
    assert judge(Outcome.SECURE, hosts(W, F)).reason == "no usable TLSA records: mx0.example.com; why 1"


@given(st.lists(st.sampled_from(HostState), min_size=1, max_size=6), st.data())
def test_lookups_made_to_fail_take_no_domain_s_dane(states: list[HostState], data: st.DataObject) -> None:
    before = judge(Outcome.SECURE, hosts(*states)).state
    attacked = [data.draw(st.sampled_from([state, F])) for state in states]
    after = judge(Outcome.SECURE, hosts(*attacked)).state
    assert before is not DaneState.FULL or after in (DaneState.FULL, DaneState.UNKNOWN)


@given(st.lists(st.sampled_from(HostState), max_size=6))
def test_full_needs_a_usable_host_and_none_that_could_be_attacked(states: list[HostState]) -> None:
    finding = judge(Outcome.SECURE, hosts(*states))
    assert (finding.state is DaneState.FULL) == (U in states and not {W, N} & set(states))
