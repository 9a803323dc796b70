"""What makes a new state of a domain, and what does not; and what its entry in the history says."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.core.check.made import MX, POLICY, facts, found, host, session, tls

from mailward.core.check.facts import Facts, Reach
from mailward.core.check.run import run
from mailward.core.watch import changes
from mailward.core.watch.keeping import (
    pack_facts,
    pack_session,
    unpack_facts,
    unpack_session,
    with_looks,
    without_looks,
)
from mailward.core.watch.sameness import digest

SOUND = facts()
SILENT = session("2001:db8::25", reach=Reach.SILENT, reason="no route from here", tls=None)


def elsewhere(*addresses: str) -> Facts:
    """A domain whose mail goes to somebody else's host."""
    name = "mx.provider.example"
    return facts(
        mx=found("example.test", "MX", f"10 {name}"),
        hosts=(host(*(session(address, tls=tls(name=name)) for address in addresses), name=name),),
    )


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("the time", SOUND, replace(SOUND, at=SOUND.at.replace(microsecond=1))),
        (
            "the order of records",
            facts(mx=found("example.test", "MX", f"10 {MX}", "20 b.example.test")),
            facts(mx=found("example.test", "MX", "20 b.example.test", f"10 {MX}")),
        ),
        ("a banner", SOUND, facts(hosts=(host(session(banner="220 mx 07:31:12 ready")),))),
        ("the cipher", SOUND, facts(hosts=(host(session(tls=replace(tls(), cipher="another"))),))),
        (
            "what was not observed",
            facts(hosts=(host(session(), SILENT),)),
            facts(hosts=(host(session(), replace(SILENT, reason="no answer in time")),)),
        ),
        ("addresses of others", elsewhere("192.0.2.1", "192.0.2.2"), elsewhere("192.0.2.7")),
    ],
)
def test_it_is_the_same_whatever(name: str, one: Facts, other: Facts) -> None:
    assert digest(run(one)) == digest(run(other)), name


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda: facts(mx=found("example.test", "MX", f"10 {MX}", "20 b.example.test")),
            "MX records: + 20 b.example.test",
        ),
        (
            lambda: facts(hosts=(host(session(tls=tls("self-signed", 18))),)),
            f"New: Certificate is self-signed ({MX})",
        ),
        (lambda: facts(hosts=(host(session("192.0.2.99")),)), f"{MX}, A: + 192.0.2.99, - 192.0.2.25"),
        (lambda: policy(POLICY.replace(b"2419200", b"86400")), "Policy: max_age is 86400, was 2419200"),
        (lambda: policy(POLICY.replace(b"enforce", b"testing")), "Policy: mode is testing, was enforce"),
    ],
)
def test_a_change_makes_another_state_and_is_told(change: Callable[[], Facts], told: str) -> None:
    before, after = run(SOUND), run(change())
    assert digest(before) != digest(after)
    assert told in changes.describe(before, after)


def policy(body: bytes) -> Facts:
    host_ = SOUND.policy_host
    return replace(
        SOUND, policy_host=replace(host_, fetches=tuple(replace(each, body=body) for each in host_.fetches))
    )


def test_another_certificate_is_told_with_its_issuer() -> None:
    renewed = replace(tls(), chain=tls(name="another.example.test").chain)
    told = changes.describe(run(SOUND), run(facts(hosts=(host(session(tls=renewed)),))))
    assert any(each.startswith(f"{MX}: another certificate, by CN=Zoo Intermediate, until ") for each in told)


def test_what_is_over_is_told_too() -> None:
    broken = run(facts(hosts=(host(session(tls=tls("self-signed", 18))),)))
    told = changes.describe(broken, run(SOUND))
    assert f"Gone: Certificate is self-signed ({MX})" in told
    assert told[0] == "Grade A, was C"


def test_facts_are_kept_with_their_sessions_apart_and_come_back_whole() -> None:
    whole = facts(hosts=(host(session(), SILENT),))
    kept = unpack_facts(pack_facts(without_looks(whole)))
    assert [each.address for each in kept.hosts[0].sessions] == [SILENT.address]
    look = unpack_session(pack_session(session()))
    assert with_looks(kept, {MX: [look]}) == whole


def test_thousands_of_hostile_records_make_few_words() -> None:
    records = [f"10 {'x' * 200}{number}.example.test" for number in range(3000)]
    told = changes.describe(run(SOUND), run(facts(mx=found("example.test", "MX", *records))))
    assert sum(map(len, told)) < 30 * 201
