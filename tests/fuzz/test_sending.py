"""Every parser of the sending side against hostile bytes, and what Postfix is told of them.

Longer, by hand: `FUZZ_SECONDS=3600 FUZZ_SEED=$RANDOM .venv/bin/python -m pytest tests/fuzz`.
"""

import contextlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dns.exception
import dns.message
import dns.name
import msgspec
import pytest
from tests.fuzz.mutate import SECONDS, fuzz

from mailward.core.dane.judge import DaneFinding, DaneState
from mailward.core.dane.tlsa import TlsaInvalid, count_usable, parse_tlsa
from mailward.core.mtasts.policy import PolicyInvalid, parse_policy
from mailward.core.mtasts.record import RecordError, parse_record
from mailward.core.names import Domain, parse_domain, parse_mx_pattern
from mailward.core.postfix.answer import render
from mailward.core.postfix.datagram import MAX_DETAILS, Datagram, DatagramError, read_datagram
from mailward.core.postfix.netstring import NetstringError, encode, split_frames
from mailward.core.postfix.nexthop import NextHop, parse_nexthop
from mailward.core.postfix.smtplog import Delivered, read_line
from mailward.core.postfix.socketmap import MAX_REPLY_BYTES, Dialect, QueryError, parse_query
from mailward.core.sending.facts import Facts, Level, Site, StsFinding, StsState
from mailward.core.sending.overrides import OverridesInvalid, parse_overrides
from mailward.core.sending.table import decide, usable_names
from mailward.core.tlsrpt.results import ResultType
from mailward.net import quickdns
from mailward.net.answers import read_answer

pytestmark = pytest.mark.timeout(SECONDS + 120)

POLICIES = [
    b"version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n",
    b"version: STSv1\r\nmode: testing\r\nmx: a.test\r\nmax_age: 0\r\nx-note: tafile=/tmp/x ciphers=null\r\n",
    b"version: STSv1\nmode: none\nmax_age: 31557600\nx: { policy_string = mode: none } \xc3\xbc\n",
    b"version: STSv1\nmode: enforce\nmx: 192.0.2.1\nmx: a.b.c.d.e.f\nmax_age: 99999999999\n",
]
POLICY_TOKENS = [
    b"mx: ",
    b"mode: none",
    b" servername=x",
    b"match=",
    b" tafile=/x",
    b"} {",
    b"*.",
    b"\nmx: *.x.test\n",
]
NAME = r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)*[a-z0-9_][a-z0-9_-]{0,62}"
MEANT = re.compile(
    rf"OK (?:may|encrypt|dane|dane-only|secure match=\.?{NAME}(?::\.?{NAME})* servername=hostname)"
    rf"(?: policy_type=sts policy_domain={NAME}(?: mx_host_pattern={NAME})*"
    r'(?: \{ policy_string = [^{}\\",\x00-\x1f\x7f-\xff]{1,600} \})*)?',
    re.ASCII,
)


def test_frames() -> None:
    def check(data: bytes) -> None:
        with contextlib.suppress(NetstringError):
            payloads, used = split_frames(data, 16_384)
            assert b"".join(map(encode, payloads)) == data[:used]
            assert len(data) - used <= 16_384 + 8
            half = len(data) // 2
            first, taken = split_frames(data[:half], 16_384)
            second, _ = split_frames(data[taken:], 16_384)
            assert first + second == payloads

    seeds = [b"17:QUERY example.com,", b"0:,3:a b,", b"12:", b"9999999:", b"17:QUERY example.com," * 50]
    fuzz(seeds, [b"16384:", b"16385:", b"01:", b"-1:", b"1:a,"], check)


def test_questions() -> None:
    def check(data: bytes) -> None:
        with contextlib.suppress(QueryError):
            query = parse_query(data)
            assert query.map_name.encode() + b" " + query.key == data

    fuzz(
        [b"QUERY example.com", b"QUERYwithTLSRPT b\xc3\xbccher.test", b" x", b"QUERY "],
        [b"TLSRPT ", b"QUERY"],
        check,
    )


def test_next_hops() -> None:
    def check(data: bytes) -> None:
        found = parse_nexthop(data)
        if isinstance(found, NextHop):
            assert parse_domain(found.domain) == found.domain
            assert found.domain.isascii()
            assert found.port is None or 0 < found.port < 65_536

    seeds = [
        "example.com",
        "[relay.example.org]:587",
        ".example.com",
        "[192.0.2.1]",
        "[IPv6:::1]:25",
        "bücher.test",
    ]
    tokens = [b"[", b"]", b":25", b"xn--", "。".encode(), "ß".encode(), b"IPv6:", b":smtp", b"a" * 64, b"_"]
    fuzz([seed.encode() for seed in seeds], tokens, check)


def test_records() -> None:
    def check(data: bytes) -> None:
        with contextlib.suppress(RecordError):
            assert re.fullmatch(r"[A-Za-z0-9]{1,32}", parse_record(data.split(b"\0")).policy_id)

    seeds = [b"v=STSv1; id=20260101T000000;", b"v=STSv1;id=1; a=b;", b"v=spf1 -all\0v=STSv1; id=2;"]
    fuzz(seeds, [b"v=STSv1;", b"id=", b"\0", b"\t"], check)


def test_policies() -> None:
    def check(data: bytes) -> None:
        with contextlib.suppress(PolicyInvalid):
            policy = parse_policy(data)
            for name in usable_names(policy.mx):
                bare = name.removeprefix("*.")
                assert parse_domain(bare, allow_single=True) == bare
            assert policy.max_age_seconds >= 0

    fuzz(POLICIES, POLICY_TOKENS, check)


def test_tlsa_records() -> None:
    def check(data: bytes) -> None:
        text = data.decode("latin-1")
        usable = count_usable([text])
        try:
            assert usable == parse_tlsa(text).is_usable
        except TlsaInvalid:
            assert usable == 0

    tokens = [b"ab" * 32, b"30", b" ", b"256", b"\xb2"]
    fuzz([b"3 1 1 " + b"ab" * 32, b"2 0 0 3082", b"0 0 2 " + b"00" * 64, b"3 1 1 "], tokens, check)


def test_overrides() -> None:
    def check(data: bytes) -> None:
        with contextlib.suppress(OverridesInvalid):
            for override in parse_overrides(data.decode("utf-8", "replace")):
                assert all(parse_mx_pattern(name) == name for name in (override.domain, *override.match))
                assert override.reason.isprintable()

    entry = b'[[override]]\ndomain = "*.a.test"\naction = "pin"\nmatch = ["a.test"]\nreason = "x"\nuntil = 2027-01-31\n'
    relax = b'[[override]]\ndomain = "b.test"\naction = "relax"\nlevel = "encrypt"\nreason = "y"\nuntil = 2027-01-31\n'
    fuzz(
        [entry, relax, entry + relax, b"override = 1\n", b"a" * 5_000 + b" = [["],
        [b"[", b'"""', b"ignore"],
        check,
    )


def test_datagrams_of_tls_sessions() -> None:
    def check(data: bytes) -> None:
        with contextlib.suppress(DatagramError):
            datagram = read_datagram(data)
            assert parse_domain(datagram.domain, allow_single=True) == datagram.domain
            assert datagram.sessions
            for session in datagram.sessions:
                assert session.policy.policy_domain
                assert len(session.details) <= MAX_DETAILS
                for detail in session.details:
                    assert detail.result_type in list(ResultType)
                    assert len(detail.receiving_mx_helo or "") <= 300
            assert msgspec.json.decode(msgspec.json.encode(datagram), type=Datagram) == datagram

    folder = Path(__file__).parents[1] / "fixtures" / "datagrams"
    seeds = [path.read_bytes() for path in sorted(folder.glob("*.json"))]
    assert len(seeds) == 14
    tokens = [b'"dpv":"2",', b'"c":999', b"\\ud800", b"\\u0000", b"\xc3", b"null", b"1e99", b"[", b'"d":']
    fuzz(seeds, tokens, check)


def test_what_postfix_is_told_holds_nothing_that_was_not_meant() -> None:
    def check(data: bytes) -> None:
        try:
            policy = parse_policy(data)
        except PolicyInvalid:
            return
        reason = data.decode("latin-1")
        for state in DaneState:
            for level in (None, Level.MAY, Level.SECURE):
                sts = StsFinding(StsState.LIVE, policy, reason)
                decision = decide(Facts(Domain("a.test"), DaneFinding(state, reason), sts, Site(level)))
                for dialect in Dialect:
                    reply = render(decision, dialect)
                    assert len(reply) <= MAX_REPLY_BYTES
                    text = reply.decode("ascii")
                    assert (
                        text == "NOTFOUND "
                        or (text.startswith("TEMP ") and text.isprintable())
                        or MEANT.fullmatch(text)
                    )

    fuzz(POLICIES, POLICY_TOKENS, check)


@pytest.mark.parametrize("rdtype", ["TXT", "MX", "TLSA"])
def test_dns_responses_mean_what_dnspython_says(rdtype: str) -> None:
    question = dns.message.make_query("_mta-sts.a.test", rdtype, use_edns=0, payload=1232)
    query = quickdns.build_query("_mta-sts.a.test", rdtype)
    assert query is not None
    qname = dns.name.from_text("_mta-sts.a.test")
    read = []

    def check(data: bytes) -> None:
        wire = query[:2] + data[2:]
        if not quickdns.answers(wire, query):
            return
        found = quickdns.read_response(wire, query)
        read.append(found)
        with contextlib.suppress(dns.exception.DNSException, ValueError):
            full = dns.message.from_wire(wire, ignore_trailing=True)
            if found is not None and full.rcode() < 4:
                assert found == read_answer(full, qname, rdtype)

    fuzz(
        [_response(question, text) for text in _ANSWERS[rdtype]],
        [query[12:], b"\xc0\x0c", b"\xc0\x15", b"\x00\x10\x00\x01", b"\x00\x0f\x00\x01", b"\x02mx"],
        check,
    )
    assert any(read)


_ANSWERS = {
    "TXT": (
        ';ANSWER\n_mta-sts.a.test. 300 IN TXT "v=STSv1; id=1;"',
        ';ANSWER\n_mta-sts.a.test. 300 IN TXT "v=STSv1;" " id=1;"\n_mta-sts.a.test. 300 IN TXT "x"',
        ";AUTHORITY\na.test. 600 IN SOA ns.a.test. h.a.test. 1 2 3 4 60",
        ";ANSWER\n_mta-sts.a.test. 300 IN CNAME b.test.\nb.test. 5 IN TXT y",
    ),
    "MX": (
        ";ANSWER\n_mta-sts.a.test. 300 IN MX 10 mx.a.test.\n_mta-sts.a.test. 300 IN MX 20 b.mx.a.test.",
        ";ANSWER\n_mta-sts.a.test. 300 IN MX 0 .",
        ";ANSWER\n_mta-sts.a.test. 300 IN MX 10 MX.other.example.",
        ";AUTHORITY\na.test. 600 IN SOA ns.a.test. h.a.test. 1 2 3 4 60",
    ),
    "TLSA": (
        f";ANSWER\n_mta-sts.a.test. 300 IN TLSA 3 1 1 {'AB' * 32}",
        f";ANSWER\n_mta-sts.a.test. 300 IN TLSA 3 1 1 {'AB' * 32}\n_mta-sts.a.test. 300 IN TLSA 2 0 2 {'01' * 64}",
        ";AUTHORITY\na.test. 600 IN SOA ns.a.test. h.a.test. 1 2 3 4 60",
    ),
}


def _response(question: dns.message.Message, text: str) -> bytes:
    response = dns.message.make_response(question, recursion_available=True)
    parsed = dns.message.from_text(f"id 1\nopcode QUERY\nrcode NOERROR\nflags QR\n{text}\n")
    response.answer, response.authority = parsed.answer, parsed.authority
    return response.to_wire()


def test_log_lines() -> None:
    now = datetime(2026, 11, 28, 23, 20, tzinfo=UTC)
    log = Path(__file__).parents[1] / "fixtures" / "maillogs" / "postfix-3.10-testing.log"
    lines = log.read_bytes().splitlines()

    def check(data: bytes) -> None:
        entry = read_line(data.decode("utf-8", "replace"), now)
        if entry is None:
            return
        assert datetime.fromtimestamp(entry.at, UTC) < now + timedelta(days=2) or data[:2].isdigit()
        if isinstance(entry.event, Delivered):
            assert parse_domain(entry.event.domain) == entry.event.domain
            assert entry.event.connected_seconds >= 0

    tokens = [
        b">, relay=",
        b"status=sent (",
        b"TLSRPT: ",
        b'"',
        b"@",
        b"Feb 29 ",
        b"9999-12-31T23:59:60Z ",
        b"[::1]",
    ]
    fuzz(lines, tokens, check)
