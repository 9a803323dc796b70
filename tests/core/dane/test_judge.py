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
    ([W, F], DaneState.UNKNOWN, "dane-d20: the failing one could have had records"),
    ([F], DaneState.UNKNOWN, "nothing is known"),
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
    assert judge(Outcome.SECURE, hosts(W, F, F)).reason == "why 1; why 2"


@given(st.lists(st.sampled_from(HostState), max_size=6))
def test_full_needs_a_usable_host_and_none_that_could_be_attacked(states: list[HostState]) -> None:
    finding = judge(Outcome.SECURE, hosts(*states))
    assert (finding.state is DaneState.FULL) == (U in states and not {W, N} & set(states))
