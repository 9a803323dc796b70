"""Any report that a conforming sender could write, for property tests."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import (
    MAX_COUNT,
    DateRange,
    FailureDetail,
    Policy,
    PolicyResult,
    PolicyType,
    Report,
    Summary,
)

CONTACT_DOMAIN = "sender.example"

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001, hypothesis wants its bounds naive
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_COUNTS = st.integers(0, 50) | st.integers(0, MAX_COUNT)
_LABELS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda label: not label.startswith("xn--") and not label.isdigit()
)
NAMES = st.lists(_LABELS, min_size=2, max_size=4).map(".".join)
_ADDRESSES = st.builds(
    str,
    st.ip_addresses(v=4)
    | st.ip_addresses(v=6).filter(
        lambda address: isinstance(address, IPv6Address) and not address.ipv4_mapped
    )
    | st.sampled_from([IPv4Address("0.0.0.0"), IPv6Address("::"), IPv6Address("2001:db8::1")]),
)
_URIS = st.from_regex(r"https://[a-z]{1,9}\.example/[A-Za-z0-9?=&#_.-]{0,9}", fullmatch=True)

DETAILS = st.builds(
    FailureDetail,
    result_type=st.sampled_from([str(each) for each in ResultType]),
    sending_mta_ip=st.none() | _ADDRESSES,
    receiving_mx_hostname=st.none() | NAMES,
    receiving_mx_helo=st.none() | _TEXTS,
    receiving_ip=st.none() | _ADDRESSES,
    failed_session_count=_COUNTS,
    additional_information=st.none() | _URIS,
    failure_reason_code=st.none() | _TEXTS,
)
POLICIES = st.builds(
    Policy,
    policy_type=st.sampled_from([str(each) for each in PolicyType]),
    policy_string=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="["), max_size=12), max_size=3
    ).map(tuple),
    policy_domain=NAMES,
    mx_host=st.lists(NAMES.map(lambda name: "*." + name) | NAMES, max_size=3).map(tuple),
)
RESULTS = st.builds(
    PolicyResult,
    policy=POLICIES,
    summary=st.builds(Summary, total_successful_session_count=_COUNTS, total_failure_session_count=_COUNTS),
    failure_details=st.lists(DETAILS, max_size=4).map(tuple),
)


def _day(start: datetime) -> DateRange:
    return DateRange(start_datetime=start, end_datetime=start + timedelta(hours=23, minutes=59, seconds=59))


REPORTS = st.builds(
    Report,
    organization_name=_TEXTS,
    date_range=st.datetimes(
        timezones=st.just(UTC), min_value=_EPOCH, max_value=_EPOCH.replace(year=2200)
    ).map(_day),
    contact_info=st.just(f"tlsrpt@{CONTACT_DOMAIN}"),
    report_id=_TEXTS,
    policies=st.lists(RESULTS, min_size=1, max_size=3).map(tuple),
)
