"""When, whom and how long: the decisions about certificates, on paper."""

import heapq
import random
from bisect import bisect_left, insort
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509

from mailward.core.acme.caa import Asked, why_forbidden
from mailward.core.acme.faults import Fault, Limited, Scope, narrow, scope_of, wait_for_ca, wait_for_name
from mailward.core.acme.lane import IDLE, WINDOW, Line, last_order_at, turn_at
from mailward.core.acme.renewal import Life, RenewalInfo, Why, ask_again, plan_renewal, renewal_id

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.mark.parametrize("days", [6, 47, 90])
@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_without_a_word_of_the_ca_a_certificate_is_renewed_by_two_thirds_of_its_life(
    days: int, chance: float
) -> None:
    renewal = plan_renewal(Life(NOW, NOW + days * DAY, NOW), None, chance)
    assert renewal.why is Why.LIFETIME
    assert 0.6 <= (renewal.at - NOW) / (days * DAY) <= 2 / 3


def test_the_ca_s_window_counts_where_it_has_one() -> None:
    info = RenewalInfo(NOW + DAY, NOW + 3 * DAY, "https://ca.test/why")
    renewal = plan_renewal(Life(NOW, NOW + 90 * DAY, NOW), info, 0.5)
    assert (renewal.at, renewal.why, renewal.explanation_url) == (
        NOW + 2 * DAY,
        Why.SUGGESTED,
        "https://ca.test/why",
    )


def test_a_window_that_ends_before_it_starts_is_none() -> None:
    info = RenewalInfo(NOW + 3 * DAY, NOW + DAY)
    assert plan_renewal(Life(NOW, NOW + 90 * DAY, NOW), info, 0).why is Why.LIFETIME


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    "info",
    [
        RenewalInfo(NOW + 80 * DAY, NOW + 120 * DAY),
        RenewalInfo(NOW + 900 * DAY, NOW + 901 * DAY),
        RenewalInfo(NOW, datetime(9999, 12, 31, 23, 59, tzinfo=timezone(-14 * HOUR))),
    ],
)
def test_a_ca_cannot_have_a_certificate_end_before_it_is_renewed(info: RenewalInfo, chance: float) -> None:
    renewal = plan_renewal(Life(NOW, NOW + 90 * DAY, NOW), info, chance)
    assert renewal.at <= NOW + 90 * DAY * 0.95


def test_a_certificate_is_left_alone_at_first_whatever_clocks_and_cas_say() -> None:
    ended = Life(NOW - 90 * DAY, NOW - DAY, NOW)
    assert plan_renewal(ended, None, 0).at > NOW + 4 * DAY
    past = RenewalInfo(NOW - 3 * DAY, NOW - 2 * DAY)
    assert plan_renewal(Life(NOW, NOW + 90 * DAY, NOW), past, 0).at == NOW + 6 * HOUR
    # later it is done at once
    assert plan_renewal(Life(NOW - 9 * DAY, NOW + 81 * DAY, NOW - 9 * DAY), past, 0).at < NOW


@pytest.mark.parametrize(
    ("life", "wanted", "expected"),
    [
        (90 * DAY, None, 6 * HOUR),  # RFC 9773 section 4.3.2
        (90 * DAY, timedelta(seconds=1), timedelta(minutes=1)),
        (90 * DAY, 30 * DAY, DAY),
        (HOUR * 20, None, HOUR),  # a short certificate is asked about often enough to matter
    ],
)
def test_how_soon_the_ca_is_asked_again(
    life: timedelta, wanted: timedelta | None, expected: timedelta
) -> None:
    assert ask_again(NOW, NOW + life, wanted) == expected


def test_the_renewal_identifier_of_the_rfc() -> None:
    """RFC 9773 appendix A."""
    assert renewal_id(x509.load_pem_x509_certificate(RFC_9773_A)) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


CA = Asked(frozenset({"ca.test"}), "https://ca.test/acct/1", "http-01")


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], ""),
        (['0 iodef "mailto:a@b.test"'], ""),  # no issue property: anybody (RFC 8659 section 4.2)
        (['0 issue "ca.test"'], ""),
        (['0 issue "CA.test. ; policy=ev"'], ""),
        (['0 issue "other.test"', '0 issue "ca.test"'], ""),
        (['0 issuewild ";"'], ""),  # about wildcards alone
        (['0 issue "other.test"'], "the CAA records allow other.test, not ca.test"),
        (['0 issue ";"'], "the CAA records allow no CA at all, not ca.test"),
        (['128 tbs "x"', '0 issue "ca.test"'], "the CAA record with the critical property 'tbs' forbids every CA"),
        (['128 issue "ca.test"'], ""),
        (['0 issue "ca.test; validationmethods=dns-01"'],
         "the CAA record allows the validation methods dns-01, not http-01"),
        (['0 issue "ca.test; validationmethods=dns-01,HTTP-01"'], ""),
        (['0 issue "ca.test; accounturi=https://ca.test/acct/1"'], ""),
        (['0 issue "ca.test; accounturi=https://ca.test/acct/2"'],
         "the CAA record allows the account https://ca.test/acct/2, not https://ca.test/acct/1"),
        (['0 issue "ca.test; accounturi=https://ca.test/acct/2"', '0 issue "ca.test"'], ""),
        (['0 issue "ca.test"', '0 contactemail "the \\"other\\" one"'], ""),
        (["gibberish"], "a CAA record cannot be read"),
    ],
)  # fmt: skip
def test_caa(records: list[str], words: str) -> None:
    assert why_forbidden(records, CA) == words


def test_a_ca_that_does_not_say_who_it_is_judges_itself() -> None:
    assert why_forbidden(['0 issue "other.test"'], Asked(frozenset(), "", "http-01")) == ""


@pytest.mark.parametrize(
    ("code", "status", "scope"),
    [
        ("rateLimited", 429, Scope.CA),
        ("serverInternal", 500, Scope.CA),
        ("unauthorized", 403, Scope.NAME),
        ("rejectedIdentifier", 400, Scope.NAME),
        ("caa", None, Scope.NAME),
        ("invalidProfile", 400, Scope.NAME),  # one domain's choice must not stop the others
        ("malformed", 400, Scope.ORDER),
        ("", 503, Scope.CA),
    ],
)
def test_whose_fault_it_is(code: str, status: int | None, scope: Scope) -> None:
    assert scope_of(code, status) is scope


LIMITS = "see https://letsencrypt.org/docs/rate-limits/"


@pytest.mark.parametrize(
    ("words", "scope"),
    [
        # Let's Encrypt's, of boulder's ratelimits
        ((f"too many new orders (300) from this account in the last 3h0m0s, retry after 2026-12-02 10:00:00 UTC:"
         f" {LIMITS}#new-orders-per-account"), Scope.CA),
        ("too many new registrations (10) from this IP address in the last 3h0m0s, retry after 2026-12-02", Scope.CA),
        ("too many new registrations (500) from this /48 subnet of IPv6 addresses in the last 3h0m0s", Scope.CA),
        ("Service busy; retry later.", Scope.CA),
        (('too many failed authorizations (5) for "mta-sts.shop.example.org" in the last 1h0m0s, retry after 2026-12-02'
         f" 10:00:00 UTC: {LIMITS}#authorization-failures-per-identifier-per-account"), Scope.NAME),
        (('too many certificates (50) already issued for "example.org" in the last 168h0m0s, retry after 2026-12-02'
         f" 10:00:00 UTC: {LIMITS}#new-certificates-per-registered-domain"), Scope.NAME),
        (("too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after"
         f" 2026-12-02 10:00:00 UTC: {LIMITS}#new-certificates-per-exact-set-of-identifiers"), Scope.NAME),
        (("too many certificates (5) already issued for this exact set of identifiers in the last 168h:"
         " [mta-sts.shop.example.org]"), Scope.NAME),
        (("Your account is temporarily prevented from requesting certificates for mta-sts.shop.example.org and possibly"
         " others."), Scope.NAME),
        # in words of others
        ("Duplicate certificate limit reached", Scope.NAME),
        ("The account has exceeded its quota", Scope.CA),
        # nobody knows: all others are not to wait for it
        ("Rate limit exceeded", Scope.NAME),
        ('too many certificates (50) already issued for "other.org"', Scope.NAME),
    ],
)  # fmt: skip
def test_a_limit_on_one_name_leaves_the_others_alone(words: str, scope: Scope) -> None:
    fault = Fault(Scope.CA, words, "rateLimited")
    assert narrow(fault, "shop.example.org", Limited(), NOW).scope is scope


def test_a_limit_that_says_nothing_is_the_ca_s_once_several_names_have_met_it() -> None:
    fault, limited = Fault(Scope.CA, "Rate limit exceeded", "rateLimited"), Limited()

    def scopes(*names: str, at: datetime = NOW) -> list[Scope]:
        return [narrow(fault, name, limited, at).scope for name in names]

    assert scopes("a.test", "a.test", "a.test", "b.test") == [Scope.NAME] * 4
    assert scopes("c.test") == [Scope.CA]
    assert scopes("d.test", at=NOW + HOUR) == [Scope.NAME]
    # a certificate in between: it takes orders of ours
    assert scopes("e.test", at=NOW + HOUR) == [Scope.NAME]
    limited.forget()
    assert scopes("f.test", at=NOW + HOUR) == [Scope.NAME]


def test_waits_grow_and_have_an_end() -> None:
    fault = Fault(Scope.NAME, "no")
    names = [wait_for_name(count, fault, 0.5) for count in (1, 2, 3, 4, 50)]
    assert names == [timedelta(minutes=m) for m in (1, 4, 16, 64, 720)]
    assert wait_for_ca(50, fault, 0.5) == HOUR
    # five failed validations an hour are what public CAs allow
    assert sum(names[:4], timedelta()) > HOUR


def test_what_the_ca_says_about_when_to_come_back_is_kept() -> None:
    assert wait_for_ca(1, Fault(Scope.CA, "busy", retry_after=5 * HOUR), 0.5) == 5 * HOUR
    assert wait_for_ca(1, Fault(Scope.CA, "busy", retry_after=300 * DAY), 0.5) == 8 * DAY


@pytest.mark.parametrize(
    ("placed", "waiting", "expected"),
    [
        ([], 0, NOW),
        ([], 3, NOW),
        ([], 4, NOW + 3 * HOUR),
        ([], 6, NOW + 3 * HOUR),
        ([], 7, NOW + 6 * HOUR),
        ([NOW - 2 * HOUR], 3, NOW + HOUR),
        ([NOW - 2 * HOUR, NOW - HOUR, NOW], 1, NOW + HOUR),
        ([NOW - 2 * HOUR, NOW - HOUR, NOW], 2, NOW + 2 * HOUR),
        ([NOW - 4 * HOUR], 3, NOW),
    ],
)  # fmt: skip
def test_when_the_last_of_a_queue_is_done(placed: list[datetime], waiting: int, expected: datetime) -> None:
    assert last_order_at(placed, waiting, 3, NOW) == expected


@pytest.mark.parametrize(
    ("placed", "line", "expected"),
    [
        ([], Line(9), NOW),
        ([NOW] * 9, Line(0), NOW),
        ([NOW] * 9, Line(1), NOW + HOUR),  # one who comes first
        ([NOW - 2.5 * HOUR] * 9 + [NOW], Line(0), NOW + HOUR / 2),
        ([NOW - 2.5 * HOUR] * 9 + [NOW], Line(9), NOW + HOUR),  # it would be three; but others may leave the line
        ([NOW] * 8, Line(0, coming=1), NOW),
        ([NOW] * 8, Line(0, coming=99), NOW + HOUR),  # two are kept, no more
        ([NOW] * 7, Line(0, coming=99), NOW),
        # those before it do not come
        ([NOW - HOUR / 5] * 9, Line(3), NOW),
        ([NOW - HOUR / 5] * 9, Line(3, coming=1), NOW + HOUR),
    ],
)  # fmt: skip
def test_whose_turn_it_is(placed: list[datetime], line: Line, expected: datetime) -> None:
    assert turn_at(placed, line, 10, NOW) == expected


def test_no_six_day_certificate_ends_while_thousands_of_new_names_wait() -> None:
    """A fifteenth of Let's Encrypt's 300: 400 new names at once, and 120 certificates: most of what it takes."""
    chance, life, limit, renewed_at = random.Random(7), 6 * DAY, 20, 6 * DAY * 0.64
    ends = {pk: NOW + chance.uniform(0.4, 1) * life for pk in range(120)}
    due = sorted(end - life + renewed_at for end in ends.values())
    heap = [(end - life + renewed_at, pk) for pk, end in ends.items()] + [(NOW, pk) for pk in range(120, 520)]
    heapq.heapify(heap)
    placed: list[datetime] = []
    renewals: list[tuple[datetime, int]] = []
    new: list[tuple[datetime, int]] = []
    firsts: list[int] = []
    least = life
    while heap[0][0] < NOW + 10 * DAY:
        now, pk = heapq.heappop(heap)
        placed = [at for at in placed if at > now - WINDOW - IDLE]
        end = ends.get(pk)
        waiting, me = (new, (NOW, pk)) if end is None else (renewals, (end, pk))
        line = Line(bisect_left(waiting, me))
        if end is None:
            coming = bisect_left(due, now + WINDOW) - bisect_left(due, now)
            line = Line(len(renewals) + line.before, coming)
        at = turn_at(placed, line, limit, now)
        if at > now:
            if me not in waiting:
                insort(waiting, me)
            heapq.heappush(heap, (at + timedelta(seconds=chance.uniform(1, 30)), pk))
            continue
        placed.append(now)
        if me in waiting:
            waiting.remove(me)
        if end is None:
            firsts.append(pk)
        else:
            least = min(least, end - now)
            due.remove(end - life + renewed_at)
        ends[pk] = now + life
        insort(due, now + renewed_at)
        heapq.heappush(heap, (now + renewed_at, pk))
    assert least > 1.5 * DAY
    # first come, first served, but for those that had their places at one moment
    assert sorted(firsts) == list(range(120, 520))
    assert max(abs(place - pk) for place, pk in enumerate(firsts, 120)) < limit


RFC_9773_A = b"""-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
"""
