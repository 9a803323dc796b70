"""Pages about checks: what is so, what was, what changed, and any domain that somebody types in."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.test import Client
from tests.core.check.made import MX, facts, found, host, session, tls
from tests.web.test_strangers_text import assert_harmless

from mailward.core.check.facts import Ciphers, Depth, Facts, Reach
from mailward.net import clock
from mailward.store.models import AskedCheck, AskedLook, Check, Domain, OutboxItem, Problem, Watch
from mailward.store.services import mxlooks, watching
from mailward.store.services.watching import Seen

NOON = datetime.fromisoformat("2026-11-24T12:00:00+00:00")
BAD = "<script>alert(1)</script>\x1b[31m\u202e"
BROKEN = facts(hosts=(host(session(tls=tls("self-signed", 18))),))


def keep(domain: Domain, seen: Facts, at: datetime) -> None:
    """As a worker does after it has looked."""
    with clock.frozen(at):
        kept = [mxlooks.keep(MX, each, was_deep=False) for each in seen.hosts[0].sessions]
        ids = tuple(look.look_id for look in kept if look.look_id)
        blind = tuple((MX, each.reason) for each in seen.hosts[0].sessions if each.reach is Reach.SILENT)
        brought = Seen(replace(seen, at=at), ids, {MX: at}, blind)
        assert watching.keep(domain.pk, brought, settings.MAILWARD)


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_verdict_comes_first_then_the_grade_with_its_sum_then_findings(
    rita: Client, domain: Domain
) -> None:
    keep(domain, BROKEN, NOON)
    shown = page(rita, "/domains/example.test/checks/")
    order = [
        "Senders that enforce MTA-STS do not deliver to you",
        "Grade",
        "- 40 certificate-self-signed",
        '<h3 id="finding-1">Certificate is self-signed',
        "OpenSSL 18 at certificate 0",
        "What to do",
        "senders report <code>certificate-not-trusted</code>",
        "The first look.",
    ]
    places = [shown.index(words) for words in order]
    assert places == sorted(places)
    assert "Check now" not in shown, "Rita may not write"


def test_a_domain_that_was_not_looked_at_yet_says_so(alice: Client, domain: Domain) -> None:
    shown = page(alice, "/domains/example.test/checks/")
    assert "Not looked at yet" in shown
    assert "Check now" in shown


def test_the_history_tells_what_changed_and_two_states_can_be_compared(rita: Client, domain: Domain) -> None:
    keep(domain, facts(), NOON)
    keep(domain, BROKEN, NOON + timedelta(days=1))
    keep(domain, BROKEN, NOON + timedelta(days=2))
    first, second = Check.objects.order_by("id")
    shown = page(rita, "/domains/example.test/checks/")
    assert "2 states." in shown
    assert "New: Certificate is self-signed (mx.example.test)" in shown
    diff = page(rita, f"/domains/example.test/checks/compare/?from={second.pk}&to={first.pk}")
    assert '<span class="removed">- Grade A (100)</span>' in diff
    assert '<span class="added">+ critical: Certificate is self-signed (mx.example.test)</span>' in diff
    old = page(rita, f"/domains/example.test/checks/{first.pk}/")
    assert "As seen from 24 Nov 2026, 12:00 to 25 Nov 2026, 12:00 UTC" in old
    assert "Nothing is wrong with what was seen." in old


def test_what_was_not_observed_is_said_with_its_reason(rita: Client, domain: Domain) -> None:
    blind = session("2001:db8::25", reach=Reach.SILENT, reason="no route from here", tls=None)
    keep(domain, facts(hosts=(host(session(), blind),)), NOON)
    shown = page(rita, "/domains/example.test/checks/")
    assert "Not observed from here" in shown
    assert "no route from here" in shown


def test_banners_and_certificates_of_strangers_never_become_markup(rita: Client, domain: Domain) -> None:
    hostile = session(banner=BAD, extensions=(BAD,), tls=None, tls_error=BAD)
    keep(domain, facts(), NOON)
    keep(
        domain,
        facts(
            hosts=(host(hostile),),
            mx=found("example.test", "MX", f"10 {MX}", f"20 {BAD}"),
            sts=found("_mta-sts.example.test", "TXT", f"v=STSv1; id={BAD};"),
        ),
        NOON + timedelta(days=1),
    )
    first, second = Check.objects.order_by("id")
    for address in ("", f"{second.pk}/", f"compare/?from={first.pk}&to={second.pk}"):
        shown = page(rita, f"/domains/example.test/checks/{address}")
        assert_harmless(shown)
        assert "&lt;script&gt;" in shown


def test_check_now_is_put_in_the_queue_once_in_two_minutes(alice: Client, domain: Domain) -> None:
    for _ in range(3):
        answer = alice.post("/domains/example.test/checks/now/", follow=True)
    assert "once in 2 minutes is the most" in answer.content.decode()
    assert OutboxItem.objects.get(kind="look").key == f"domain {domain.pk}"
    assert 'http-equiv="refresh"' in answer.content.decode(), "the page waits for it"


def test_any_domain_may_be_typed_in_and_the_page_waits_for_the_worker(rita: Client, domain: Domain) -> None:
    answer = rita.post("/check/", {"name": "bücher.example"}, follow=True)
    asked = AskedCheck.objects.get()
    assert asked.name == "xn--bcher-kva.example"
    assert "The check is under way" in answer.content.decode()
    assert 'http-equiv="refresh"' in answer.content.decode()
    watching.keep_asked(asked.pk, BROKEN)
    shown = page(rita, f"/check/{asked.pk}/")
    assert "Certificate is self-signed" in shown
    assert 'http-equiv="refresh"' not in shown


@pytest.mark.parametrize(
    "name", ["", "10.0.0.1", "[::1]", "localhost", "-bad-.example", "a" * 2000, BAD[:25]]
)
def test_what_is_no_domain_is_not_asked_about(rita: Client, domain: Domain, name: str) -> None:
    answer = rita.post("/check/", {"name": name})
    assert answer.status_code == 200
    assert "errorlist" in assert_harmless(answer.content.decode())
    assert not AskedCheck.objects.exists()


def test_a_person_may_ask_so_many_times_an_hour(rita: Client, bob: Client, domain: Domain) -> None:
    most = settings.MAILWARD.watch.asks_per_hour
    for number in range(most + 1):
        answer = rita.post("/check/", {"name": f"d{number}.example"})
    assert f"You have asked for {most} checks within an hour" in answer.content.decode()
    assert AskedCheck.objects.count() == most
    assert bob.post("/check/", {"name": "another.example"}).status_code == 302


def test_who_asks_what_another_has_just_asked_gets_the_same_answer_and_not_the_others_page(
    rita: Client, charlie: Client, domain: Domain
) -> None:
    rita.post("/check/", {"name": "popular.example"})
    hers = AskedCheck.objects.get()
    watching.keep_asked(hers.pk, BROKEN)
    answer = charlie.post("/check/", {"name": "popular.example"}, follow=True)
    assert "Certificate is self-signed" in answer.content.decode()
    assert charlie.get(f"/check/{hers.pk}/").status_code == 404
    assert OutboxItem.objects.filter(kind="look").count() == 1


def test_a_machine_without_a_way_out_says_so_on_the_page(rita: Client, domain: Domain) -> None:
    keep(domain, facts(), NOON)
    Watch.objects.update(checked_at=clock.now())
    for number in range(3):
        silent = session(
            f"192.0.2.{number}",
            reach=Reach.SILENT,
            tls=None,
            reason="port 25: no connection within 10 seconds",
        )
        mxlooks.keep(f"mx{number}.example.net", silent, was_deep=False)
    assert "This machine reaches no MX host by IPv4" in page(rita, "/domains/example.test/checks/")


def test_what_was_seen_once_is_said_and_nobody_is_told_yet(rita: Client, domain: Domain) -> None:
    keep(domain, BROKEN, NOON)
    assert "Seen once: Certificate is self-signed" in page(rita, "/domains/example.test/checks/")
    assert not Problem.objects.exists()
    with clock.frozen(NOON + timedelta(minutes=6)):
        keep(domain, BROKEN, NOON + timedelta(minutes=6))
    shown = page(rita, "/domains/example.test/checks/")
    assert "Seen once" not in shown
    problem = Problem.objects.get()
    assert f'<a href="/problems/{problem.pk}/">An open problem</a>' in shown
    told = page(rita, f"/problems/{problem.pk}/")
    for words in ("What our check saw", "OpenSSL 18", "No report tells of it", "certificate-not-trusted"):
        assert words in told


def deep(other: Ciphers | None = None) -> Facts:
    ciphers = other or Ciphers(
        (("TLSv1.2", ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_RSA_WITH_RC4_128_SHA")),)
    )
    depth = Depth((("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384"), ("TLSv1.3", "x")), False, ciphers)
    return facts(hosts=(host(session(depth=depth)),))


def test_the_page_lists_versions_and_cipher_suites_and_marks_the_weak(rita: Client, domain: Domain) -> None:
    keep(domain, deep(), NOON)
    shown = page(rita, "/domains/example.test/checks/")
    order = [
        "TLS versions and cipher suites",
        "<dt>TLSv1.3</dt>",
        "its suites were not asked for",
        "<dt>TLSv1.2</dt>",
        "<code>TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384</code></li>",
        "<code>TLS_RSA_WITH_RC4_128_SHA</code>",
        "RC4, no forward secrecy",
        "is forgotten, as it should be",
    ]
    places = [shown.index(words) for words in order]
    assert places == sorted(places)
    assert "Look deeply" not in shown, "Rita may not write"


def test_other_cipher_suites_are_a_new_state_and_told_as_a_change(rita: Client, domain: Domain) -> None:
    keep(domain, deep(), NOON)
    better = Ciphers((("TLSv1.2", ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",)),))
    keep(domain, deep(better), NOON + timedelta(days=7))
    shown = page(rita, "/domains/example.test/checks/")
    assert "Gone: " in shown
    assert f"{MX}, cipher suites: - TLSv1.2 TLS_RSA_WITH_RC4_128_SHA" in shown


def test_weak_suites_that_the_first_deep_look_finds_are_no_news(domain: Domain) -> None:
    keep(domain, facts(), NOON)
    for hours in (1, 2):
        keep(domain, deep(), NOON + timedelta(hours=hours))
    assert not Problem.objects.exists()
    assert f"{MX}: cipher suites asked for, 2 accepted" in Check.objects.order_by("-id")[0].changes
    better = deep(Ciphers((("TLSv1.2", ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",)),)))
    for hours in (3, 4):
        keep(domain, better, NOON + timedelta(hours=hours))
    for hours in (5, 6):
        keep(domain, deep(), NOON + timedelta(hours=hours))
    assert [row.cause for row in Problem.objects.all()] == ["cipher-rc4"]


def test_a_deep_look_is_for_proved_domains_once_an_hour_and_the_history_has_who_asked(
    alice: Client, domain: Domain
) -> None:
    Domain.objects.filter(pk=domain.pk).update(claim_verified_at=None)
    shown = page(alice, "/domains/example.test/checks/")
    assert "proved that the domain is yours" in shown
    assert "Look deeply" not in shown
    refused = alice.post("/domains/example.test/checks/now/", {"depth": "deep"}, follow=True).content.decode()
    assert "Deep looks are for domains that are proved to be yours." in refused
    assert not OutboxItem.objects.filter(kind="look").exists()
    Domain.objects.filter(pk=domain.pk).update(claim_verified_at=clock.now())
    keep(domain, facts(), clock.now() - timedelta(hours=1))
    assert ">Look deeply</button>" in page(alice, "/domains/example.test/checks/")
    asked = alice.post("/domains/example.test/checks/now/", {"depth": "deep"}, follow=True).content.decode()
    assert OutboxItem.objects.get(kind="look").key == f"deep {domain.pk}"
    assert "alice@alice.test asked for a deep look on" in asked
    again = alice.post("/domains/example.test/checks/now/", {"depth": "deep"}, follow=True).content.decode()
    assert "once an hour is the most for deep ones" in again
    assert AskedLook.objects.count() == 1
