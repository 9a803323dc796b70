"""From a batch of domains to rows, with a real DNS server, policy host and mail server on loopback."""

import asyncio
import pickle
from pathlib import Path

import pytest
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.mailserver import FakeMailServer
from tests.fakes.policyhost import PolicyHost, http

from mailward.core.names import Domain
from mailward.core.survey.columns import COLUMNS
from mailward.core.survey.listing import Entry
from mailward.probe import surveylook
from mailward.probe.survey import Surveyor, SurveyWays, survey_batch

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mx.one.test\r\nmax_age: 604800\r\n"
Cells = dict[str, object]


def entries(*names: str) -> list[Entry]:
    return [Entry(at, None, Domain(name)) for at, name in enumerate(names, 1)]


def cells(row: tuple[object, ...]) -> Cells:
    return dict(zip((column.name for column in COLUMNS), row, strict=True))


async def look(dns: FakeDns, ways: SurveyWays, *names: str) -> list[Cells]:
    surveyor = Surveyor(ways)
    try:
        return [cells(await surveyor.make_row(entry)) for entry in entries(*names)]
    finally:
        surveyor.close()


@pytest.fixture
def dns() -> FakeDns:
    made = FakeDns()
    made.set("one.test", "MX", "10 mx.one.test.")
    made.set("mx.one.test", "A", "127.0.0.1")
    made.set("_mta-sts.one.test", "TXT", "v=STSv1; id=1;")
    made.set("mta-sts.one.test", "A", "127.0.0.1")
    made.set("_smtp._tls.one.test", "TXT", "v=TLSRPTv1; rua=mailto:tls@one.test,https://127.0.0.1/")
    return made


def ways(dns: FakeDns, **changes: object) -> SurveyWays:
    return SurveyWays((dns.address,), allow_private=True, dns_seconds=1.0, **changes)  # type: ignore[arg-type]


async def test_a_domain_with_all_of_it(dns: FakeDns, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    host = PolicyHost(authority.issue("mta-sts.one.test"), http(POLICY))
    async with dns, host.running():
        asked = ways(dns, ca_file=authority.file, https_port=host.port)
        [row] = await look(dns, asked, "one.test")
    shown = {
        name: row[name] for name in ("status", "mx", "policy_status", "policy_mode", "policy_mx", "codes")
    }
    assert shown == {
        "status": "ok",
        "mx": "10 mx.one.test",
        "policy_status": "ok",
        "policy_mode": "enforce",
        "policy_mx": "mx.one.test",
        "codes": None,
    }
    assert (row["tlsrpt_rua"], row["providers"], row["verdict_mta_sts"]) == (
        "mailto:tls@one.test https://127.0.0.1/",
        "one.test",
        "unknown",  # nobody looked at the certificate of the MX host
    )


def test_the_unit_of_work_can_be_sent_to_another_process(dns: FakeDns) -> None:
    with dns.threaded():
        work = pickle.loads(
            pickle.dumps((survey_batch, entries("one.test", "gone.test"), ways(dns, https_port=1)))
        )
        rows = [cells(row) for row in work[0](*work[1:])]
    assert [(row["line"], row["domain"], row["mx_status"]) for row in rows] == [
        (1, "one.test", "found"),
        (2, "gone.test", "nxdomain"),
    ]
    assert pickle.loads(pickle.dumps(rows)) == rows


async def test_an_address_that_is_private_is_not_connected_to(dns: FakeDns, tmp_path: Path) -> None:
    """However it is reached: by an alias, in IPv6 clothes."""
    dns.set("mta-sts.one.test", "CNAME", "inside.test.")
    dns.set("inside.test", "A", "127.0.0.1")
    dns.set("inside.test", "AAAA", "::ffff:10.0.0.1")
    host = PolicyHost(Authority(tmp_path).issue("mta-sts.one.test"), http(POLICY))
    async with dns, host.running():
        [row] = await look(dns, SurveyWays((dns.address,), https_port=host.port), "one.test")
    assert (row["policy_status"], row["codes"]) == ("address-refused", "policy-host-unreachable")
    assert host.names == []


async def test_a_host_of_many_domains_is_asked_for_once(dns: FakeDns) -> None:
    for number in range(50):
        dns.set(f"d{number}.test", "MX", "10 mx.one.test.")
    async with dns:
        surveyor = Surveyor(ways(dns))
        for entry in entries(*(f"d{number}.test" for number in range(50))):
            await surveyor.make_row(entry)
        surveyor.close()
    assert [query.rdtype for query in dns.queries if query.name == "mx.one.test"] == ["A", "AAAA"]


async def test_without_a_record_no_policy_host_is_asked(dns: FakeDns) -> None:
    dns.set("_mta-sts.one.test", "TXT", "v=spf1 -all")  # a wildcard
    async with dns:
        [row] = await look(dns, ways(dns, https_port=1), "one.test")
    assert (row["policy_status"], row["codes"]) == ("not-asked", "sts-absent")
    assert "mta-sts.one.test" not in [query.name for query in dns.queries]


async def test_where_dns_is_silent_every_domain_has_a_row_that_says_so(dns: FakeDns) -> None:
    dns.fail(Fault.SILENCE)
    async with dns:
        rows = await look(dns, SurveyWays((dns.address,), dns_seconds=0.1, retries=0), "one.test", "two.test")
    assert [(row["mx_status"], row["codes"]) for row in rows] == [
        ("failed", "mx-lookup-failed sts-record-lookup-failed tlsrpt-lookup-failed")
    ] * 2
    assert all("no answer in time" in str(row["mx_reason"]) for row in rows)


async def test_a_fault_of_ours_becomes_a_row(dns: FakeDns, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by whatever")

    monkeypatch.setattr(surveylook, "mx_names", broken)
    async with dns:
        [row] = await look(dns, ways(dns), "one.test")
    assert (row["status"], row["error"], row["codes"]) == ("error", "ZeroDivisionError: by whatever", None)


async def test_a_domain_that_takes_too_long_becomes_a_row(dns: FakeDns) -> None:
    dns.fail(Fault.SILENCE)
    async with dns:
        [row] = await look(dns, ways(dns, domain_seconds=0.2), "one.test")
    assert (row["status"], row["error"]) == ("error", "not done within 0.2 seconds")


async def test_dane_is_told_where_the_resolver_validates() -> None:
    dns = FakeDns(authenticated=True)
    dns.set("one.test", "MX", "10 mx.one.test.", "20 b.one.test.")
    for name in ("mx", "b"):
        dns.set(f"{name}.one.test", "A", "192.0.2.1")
    dns.set("_25._tcp.mx.one.test", "TLSA", "3 1 1 " + "ab" * 32)
    async with dns:
        [row] = await look(dns, ways(dns), "one.test")
    assert (row["dnssec_validated"], row["dane"]) == (True, "some")
    assert "dane-partial" in str(row["codes"]).split()


@pytest.mark.parametrize("unsigned, dane", [("elsewhere.test", "all"), ("test", "none")])
async def test_an_alias_into_an_unsigned_zone_is_asked_for_tlsa_at_its_own_name(
    unsigned: str, dane: str
) -> None:
    dns = FakeDns(authenticated=True)
    dns.insecure.add(unsigned)
    dns.set("one.test", "MX", "10 mx.one.test.")
    dns.set("mx.one.test", "CNAME", "mx.elsewhere.test.")
    dns.set("mx.elsewhere.test", "A", "192.0.2.1")
    dns.set("_25._tcp.mx.one.test", "TLSA", "3 1 1 " + "ab" * 32)
    async with dns:
        [row] = await look(dns, ways(dns), "one.test")
    assert row["dane"] == dane
    assert not [query for query in dns.queries if query.name == "_25._tcp.mx.elsewhere.test"]


async def test_an_mx_host_is_spoken_to_once_however_often_the_survey_is_begun(
    dns: FakeDns, tmp_path: Path
) -> None:
    server = FakeMailServer(ehlo=b"250 mx\r\n")
    dns.set("two.test", "MX", "10 mx.one.test.")
    async with dns:
        with server.running():
            asked = ways(
                dns,
                https_port=1,
                has_smtp=True,
                smtp_port=server.port,
                smtp_rate=1000.0,
                sessions_file=tmp_path / "sessions.sqlite3",
            )
            rows = await look(dns, asked, "one.test", "two.test")
            rows += await look(dns, asked, "two.test")
    assert [row["starttls"] for row in rows] == ["none", "none", "none"]
    assert all("starttls-not-supported" in str(row["codes"]) for row in rows)
    assert len([command for command in server.commands if command.startswith("EHLO")]) == 1


async def test_a_name_too_long_for_a_question_becomes_a_row(dns: FakeDns) -> None:
    long = ".".join(["a" * 60] * 4) + ".test"  # 248 characters: `_mta-sts.` no longer fits
    dns.set(long, "MX", "10 mx.one.test.")
    async with dns:
        [row] = await look(dns, ways(dns, retries=0), long)
    assert (row["status"], row["mx"], row["sts_status"]) == ("ok", "10 mx.one.test", "failed")
    assert "no name that DNS can hold" in str(row["sts_reason"])


async def test_a_host_with_an_alias_is_found_for_all_who_wait_for_it(dns: FakeDns) -> None:
    dns.set("mx.one.test", "A")
    dns.set("mx.one.test", "CNAME", "real.one.test.")
    dns.set("real.one.test", "A", "192.0.2.7")
    names = [f"d{number}.test" for number in range(5)]
    for name in names:
        dns.set(name, "MX", "10 mx.one.test.")
    async with dns:
        surveyor = Surveyor(ways(dns))
        await surveyor.open()
        rows = [
            cells(row) for row in await asyncio.gather(*(surveyor.make_row(each) for each in entries(*names)))
        ]
        surveyor.close()
    assert {str(row["hosts"]) for row in rows} == {
        (
            '[{"name":"mx.one.test","a":{"status":"found","records":["192.0.2.7"],"cnames":["real.one.test"]},'
            '"aaaa":{"status":"nodata","cnames":["real.one.test"]}}]'
        )
    }
    assert len([query for query in dns.queries if query.name == "mx.one.test"]) == 2
