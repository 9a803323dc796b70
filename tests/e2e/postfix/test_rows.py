"""Each row of docs/sender-decisions.md with real mail: what Postfix 3.7 and 3.10 do, and which mailbox has it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.e2e.postfix.bed import Bed, Domain, policy, running_bed
from tests.e2e.postfix.site import Site

from mailward.core.mtasts.decide import Cached
from mailward.core.mtasts.policy import parse_policy
from mailward.core.names import Domain as Name
from mailward.core.sending.facts import Row
from mailward.lab.mta import Delivery
from mailward.lab.network import address
from mailward.sender.cache import Entry
from mailward.sender.sqlite import SqliteCache

pytestmark = pytest.mark.timeout(600)

ENFORCE = policy("enforce", "valid.mx.test")
ALL = policy("enforce", "*.mx.test")
MANY = [f"host-{number}.a-long-name-of-a-large-provider.test" for number in range(1000)]
HOSTILE = ENFORCE + 'x-a: } tafile=/lab/own.pem {\r\nx-b: a, b; $c "d" \\e\r\n' + f"x-c: {'y' * 5000}\r\n"
TESTING = policy("testing", "valid.mx.test")
UNVERIFIED = "Server certificate not verified"
NO_STARTTLS = "TLS is required, but was not offered by host plain.mx.test"
NO_HOST = "server unavailable or unable to receive mail"


@dataclass(frozen=True)
class Case:
    row: str
    domain: Domain
    outcome: str
    """`valid TLS`: that host took it over TLS; `plain plain`: without. Otherwise it waits, with this text in the log;
    after `TEMP`, with this reason from us."""
    override: str = ""
    log: str = ""
    """Also in the log of both Postfixes."""
    on_310: tuple[str, str] = ("", "")
    """Outcome and log where 3.10 differs."""


def case(
    row: str,
    outcome: str,
    label: str,
    override: str = "",
    log: str = "",
    on_310: tuple[str, str] = ("", ""),
    **domain: Any,  # the fields of Domain
) -> Case:
    return Case(row, Domain(label, **domain), outcome, override, log, on_310)


CASES = (
    case("not-a-domain", "plain plain", "literal", nexthop=f"[{address(29)}]", policy=ENFORCE),
    case("override-ignore", "plain plain", "ignored", "action = 'ignore'", mx=("plain",), policy=ENFORCE),
    case("override-secure", "valid TLS", "required", "action = 'require'\nmatch = ['*.mx.test']"),
    case(
        "override-secure", UNVERIFIED, "required-misnamed",
        "action = 'require'\nmatch = ['*.mx.test']", mx=("misnamed",),
    ),
    case("override-dane-only", "dane TLS", "required-dane", "action = 'require'", mx=("dane",), is_signed=True),
    case("override-dane-only", "non DNSSEC destination", "required-no-dane", "action = 'require'"),
    case("override-relax", "plain plain", "relaxed", "action = 'relax'", mx=("plain",), policy=ENFORCE),
    case(
        "override-relax", "selfsigned TLS", "relaxed-encrypt",
        "action = 'relax'\nlevel = 'encrypt'", mx=("selfsigned",), policy=ENFORCE,
    ),
    case(
        "override-relax", NO_STARTTLS, "relaxed-plain",
        "action = 'relax'\nlevel = 'encrypt'", mx=("plain",), policy=ENFORCE,
    ),
    case("cache-unreadable", "TEMP the cache cannot be read", "unreadable", site="unreadable", policy=ENFORCE),
    case("dane-full", "dane TLS", "dane", mx=("dane",), is_signed=True),
    case("dane-full", "dane TLS", "dane-alias", mx=("alias",), is_signed=True),
    case("dane-full", UNVERIFIED, "dane-wrong", mx=("danewrong",), is_signed=True),
    case("dane-full", "dane TLS", "dane-one-fails", mx=("nolookup", "dane"), is_signed=True),
    case("dane-full", "dane TLS", "dane-over-sts", mx=("dane",), is_signed=True, policy=ENFORCE),
    case("sts-pinned", "valid TLS", "pinned", "action = 'pin'\nmatch = ['valid.mx.test']"),
    case(
        "sts-pinned", UNVERIFIED, "pinned-other", "action = 'pin'\nmatch = ['else.mx.test']", policy=ENFORCE,
        on_310=(NO_HOST, "MX name 'valid.mx.test' does not match STS MX pattern for 'pinned-other.test'"),
    ),
    case("sts-enforce", "valid TLS", "enforced", policy=ENFORCE),
    case("sts-enforce", "valid TLS", "enforced-pattern", policy=ALL),
    case("sts-enforce", "valid TLS", "huge", policy=policy("enforce", *MANY, "valid.mx.test")),
    case("sts-enforce", "valid TLS", "hostile", policy=HOSTILE),
    case("sts-enforce", "valid TLS", "xn--bcher-kva", policy=ENFORCE, unicode="bücher.test"),
    case("sts-enforce", NO_STARTTLS, "xn--mller-kva", mx=("plain",), policy=ALL, unicode="müller.test"),
    case("sts-enforce", "smart TLS", "relayed", nexthop="[smart.mx.test]:25"),
    # before 3.10.5 Postfix's `.mx.test` covers every depth; RFC 8461 §4.1: one label
    case(
        "sts-enforce", "deep.sub TLS", "enforced-deep", mx=("deep.sub",), policy=ALL,
        on_310=(NO_HOST, "MX name 'deep.sub.mx.test' does not match STS MX pattern for 'enforced-deep.test'"),
    ),
    case("sts-enforce", "valid TLS", "enforced-second", mx=("expired", "valid"), policy=ALL),
    case(
        "sts-enforce", UNVERIFIED, "enforced-expired", log="expired.mx.test[10.77.0.26]:25: certificate has expired",
        mx=("expired",), policy=ALL,
    ),
    case(
        "sts-enforce", UNVERIFIED, "enforced-selfsigned",
        log="selfsigned.mx.test[10.77.0.27]:25: self-signed certificate",
        mx=("selfsigned",), policy=ALL,
    ),
    case("sts-enforce", UNVERIFIED, "enforced-misnamed", mx=("misnamed",), policy=ALL),
    case("sts-enforce", NO_STARTTLS, "enforced-plain", mx=("plain",), policy=ALL),
    case(
        "sts-enforce", UNVERIFIED, "elsewhere", policy=policy("enforce", "else.mx.test"),
        on_310=(NO_HOST, "MX name 'valid.mx.test' does not match STS MX pattern for 'elsewhere.test'"),
    ),
    case("sts-enforce-partial-dane", "valid TLS", "partial", mx=("dane", "valid"), is_signed=True, policy=ALL),
    case(
        "sts-enforce-partial-dane", NO_STARTTLS, "partial-attacked",
        mx=("danewrong", "plain"), is_signed=True, policy=ALL,
    ),
    case("sts-enforce-unknown-dane", "nolookup TLS", "unknown", mx=("nolookup",), is_signed=True, policy=ALL),
    case(
        "sts-enforce-no-name", "TEMP the policy enforces, but names no host", "no-name",
        policy=policy("enforce", "192.0.2.1"),
    ),
    case("dane-partial", "plain plain", "half", mx=("danewrong", "plain"), is_signed=True),
    case("dane-partial", "dane TLS", "half-first", mx=("dane", "plain"), is_signed=True),
    case("dane-partial", "daneunusable TLS", "unusable", mx=("daneunusable",), is_signed=True),
    case("dane-partial", "plain plain", "half-testing", mx=("danewrong", "plain"), is_signed=True, policy=TESTING),
    case(
        "dane-partial-default", "danewrong TLS", "half-encrypt",
        mx=("danewrong", "plain"), is_signed=True, site="encrypt",
    ),
    case("dane-partial", "plain plain", "doubt", mx=("nolookup", "plain"), is_signed=True),
    case("dane-unknown", "TLSA lookup error", "doubt-alone", mx=("nolookup",), is_signed=True),
    case(
        "dane-unknown-deferred", "TEMP DANE cannot be ruled out: TLSA _25._tcp.nolookup.mx.test", "doubt-encrypt",
        mx=("nolookup",), is_signed=True, site="encrypt",
    ),
    case("sts-testing", "plain plain", "testing", mx=("plain",), policy=TESTING),
    case("sts-testing", "misnamed TLS", "testing-misnamed", mx=("misnamed",), policy=TESTING),
    case("sts-testing", "expired TLS", "testing-encrypt", mx=("expired",), policy=TESTING, site="encrypt"),
    case("sts-testing", "plain plain", "testing-dane", mx=("plain",), policy=TESTING, site="dane"),
    case("sts-testing-default", "plain plain", "testing-untold", mx=("plain",), policy=TESTING, site="untold"),
    case("sts-none", "plain plain", "none", mx=("plain",), policy=policy("none")),
    case("sts-expired", "plain plain", "ended", mx=("plain",), record="none"),
    case("record-failed", "plain plain", "no-record", mx=("plain",), policy=ENFORCE, record="dead"),
    case(
        "record-failed-deferred", "TEMP TXT _mta-sts.no-record-temp.test", "no-record-temp",
        mx=("plain",), policy=ENFORCE, record="dead", site="temp",
    ),
    case("fetch-failed", "plain plain", "no-fetch", mx=("plain",), policy=ENFORCE, web="self-signed"),
    case("nothing", "plain plain", "nothing", mx=("plain",)),
    case("nothing", "plain plain", "sub.enforced", mx=("plain",)),
)  # fmt: skip


def overrides() -> str:
    return "".join(
        f"[[override]]\ndomain = '{item.domain.name}'\n{item.override}\nreason = 'proof'\nuntil = 2099-01-01\n"
        for item in CASES
        if item.override
    )


SITES = (
    Site("may", 8461, overrides=overrides()),
    Site("encrypt", 8462, "encrypt"),
    Site("dane", 8463, "dane"),
    Site("untold", 8464, ""),
    Site("temp", 8465, settings={"record_failure": '"temp"'}),
    Site("unreadable", 8466),
)


@pytest.fixture(scope="module")
def bed(root: None) -> Iterator[Bed]:
    with running_bed([item.domain for item in CASES], SITES) as bed:
        asyncio.run(_remember_an_ended_policy(bed))
        _break_the_cache(bed)
        for item in CASES:
            bed.send(item.domain.label)
        yield bed


async def _remember_an_ended_policy(bed: Bed) -> None:
    cache = SqliteCache(bed.sites["may"].folder / "sender.sqlite3", 100)
    await cache.put(Entry(Name("ended.test"), Cached(parse_policy(ENFORCE.encode()), "1", 1_700_000_000)))
    await cache.close()


def _break_the_cache(bed: Bed) -> None:
    for path in bed.sites["unreadable"].folder.glob("sender.sqlite3*"):
        path.write_bytes(b"no database" * 10_000)


@pytest.mark.parametrize("version", ["3.7", "3.10"])
@pytest.mark.parametrize("item", CASES, ids=lambda item: item.domain.label)
def test_mail_meets_its_row(bed: Bed, item: Case, version: str) -> None:
    label = item.domain.label
    outcome, log = item.on_310 if version == "3.10" and item.on_310[0] else (item.outcome, item.log)
    delivery, taken = bed.delivery(label, version), bed.taken(label, version)
    if outcome.endswith((" TLS", " plain")):
        host, security = outcome.split()
        assert (delivery.status, taken) == ("sent", f"{host}.mx.test {security}"), delivery
    else:
        log = _check_deferral(item, outcome, delivery) or log
        assert taken == ""
    assert log in bed.senders[version].log()
    rows = bed.sites[item.domain.site].rows()
    assert rows.get(item.domain.logged_as, "-") == (
        "-" if item.row in ("nothing", "not-a-domain") else item.row
    )


def _check_deferral(item: Case, outcome: str, delivery: Delivery) -> str:
    """What the log must say besides."""
    assert delivery.status == "deferred", delivery
    if not outcome.startswith("TEMP "):
        assert outcome in delivery.text
        return ""
    assert (delivery.dsn, delivery.text) == ("4.7.5", "client TLS configuration problem")
    return f"socketmap server temporary error: {item.row}: {outcome.removeprefix('TEMP ')}"


def test_every_row_is_met() -> None:
    assert {item.row for item in CASES} == {row.value for row in Row}
