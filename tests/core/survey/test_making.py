"""A row whose shared part was made for another domain says what it would say alone."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.core.check.made import DOMAIN, facts

from mailward.core.check.facts import Facts, Found, Lookup, MxHost, ReportTarget
from mailward.core.names import Domain
from mailward.core.survey.judging import judge_facts
from mailward.core.survey.listing import Entry
from mailward.core.survey.making import RowMaker
from mailward.core.survey.parts import join_row
from mailward.core.survey.row import make_row, unasked_policy_host, write_time

AT = facts().at
lookups = st.builds(
    lambda found, record, secure, alias, reason: Lookup(
        "",
        "A",
        found,
        (record,) if found is Found.FOUND else (),
        (),
        secure,
        alias,
        reason if found is Found.FAILED else "",
    ),
    st.sampled_from(Found),
    st.sampled_from(["192.0.2.1", "192.0.2.2"]),
    st.booleans(),
    st.sampled_from([(), ("alias.example.test",)]),
    st.sampled_from(["no answer in time", "SERVFAIL"]),
)
tlsa = st.sampled_from([(), (Lookup("_25._tcp.a", "TLSA", Found.FOUND, ("3 1 1 " + "ab" * 32,), (), True),)])
names = st.sampled_from(["mx", "b.mx", "_odd", "192.0.2.9"])
hosts = st.lists(
    st.builds(MxHost, names, lookups, lookups, tlsa), max_size=3, unique_by=lambda host: host.name
)
texts = st.sampled_from([(), (b"v=spf1 -all",), (b"v=TLSRPTv1; rua=mailto:a@example.test",), (b"x", b"y")])
seen = st.tuples(lookups, hosts, lookups, texts, lookups, texts, st.booleans(), st.sampled_from([0, 3]))


@given(st.lists(seen, min_size=1, max_size=4))
def test_rows_of_one_maker_are_those_of_the_facts(
    several: list[
        tuple[Lookup, list[MxHost], Lookup, tuple[bytes, ...], Lookup, tuple[bytes, ...], bool, int]
    ],
) -> None:
    maker = RowMaker()
    for suffix in ("one.test", "other.example"):  # alike, but for their names
        for mx, some, sts, sts_texts, tlsrpt, tlsrpt_texts, takes, skipped in several:
            made = [replace(host, name=rename(host.name, suffix)) for host in some]
            records = tuple(f"{10 * at} {host.name}" for at, host in enumerate(made)) if mx.records else ()
            whole = Facts(
                Domain(suffix),
                AT,
                True,
                replace(mx, name=suffix, kind="MX", records=records),
                tuple(made),
                replace(sts, kind="TXT", records=(), texts=sts_texts if sts.was_found else ()),
                (),
                unasked_policy_host("mta-sts"),
                replace(tlsrpt, kind="TXT", records=(), texts=tlsrpt_texts if tlsrpt.was_found else ()),
                (ReportTarget("mailto:a@example.test", "example.test", takes),) if tlsrpt_texts else (),
                has_smtp=False,
                skipped_hosts=skipped,
            )
            check(maker, Entry(7, None, Domain(suffix)), whole)


def rename(host: str, suffix: str) -> str:
    return host if host[0].isdigit() else f"{host}.{suffix}"


def check(maker: RowMaker, entry: Entry, whole: Facts) -> None:
    providers = [host.name for host in whole.hosts]
    exchange = maker.make_exchange(whole.mx, whole.hosts, whole.skipped_hosts, providers)
    others = tuple(
        (each.found, each.is_secure, each.texts, each.chain, each.reason)
        for each in (whole.sts, whole.tlsrpt)
    )
    made = maker.make(entry, (write_time(AT), 12), exchange, (others, whole.targets), lambda: whole)
    assert join_row(*made) == make_row(entry, whole, judge_facts(whole), 12, providers)


def test_alike_is_made_once() -> None:
    maker, asked = RowMaker(), []
    for name in ("one.test", "two.test", DOMAIN):
        whole = replace(
            facts(),
            domain=Domain(name),
            hosts=(),
            policy_host=unasked_policy_host("mta-sts"),
        )
        exchange = maker.make_exchange(whole.mx, (), 0, ())

        def give(whole: Facts = whole) -> Facts:
            asked.append(whole.domain)
            return whole

        maker.make(Entry(1, None, Domain(name)), ("", 0), exchange, "the same", give)
    assert asked == ["one.test"]
