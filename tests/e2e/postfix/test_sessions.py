"""Sessions of a real Postfix 3.10 that are out of the ordinary: certificates that TLSA records do not trust, smtp(8)
in a chroot, TLS sessions that are resumed.
"""

from collections.abc import Iterator

import pytest
from tests.e2e.postfix.bed import Domain, running_bed
from tests.e2e.postfix.site import Site
from tests.e2e.postfix.test_blindspots import SUCCESS, UNTRUSTED, Spots, in_testing

pytestmark = pytest.mark.timeout(600)

MAILS = 4
NO_REUSE = "smtp_connection_cache_on_demand=no"
SHARED = {"cache": '"{home}/policies.sqlite3"'}
SITES = (
    Site(
        "may",
        8461,
        settings=SHARED,
        tlsrpt={
            "socket": '"{home}/spool/tlsrpt.sock"',
            "counts": '"{home}/counts.sqlite3"',
            "log": '"{home}/mail.log"',
        },
        options_310=(UNTRUSTED, NO_REUSE),
    ),
    Site("jailed", 8462, settings=SHARED, options_310=(UNTRUSTED, NO_REUSE), is_chrooted=True),
    Site(
        "skipping",
        8463,
        settings=SHARED,
        options_310=(UNTRUSTED, NO_REUSE, "smtp_tlsrpt_skip_reused_handshakes=yes"),
    ),
)
UNTRUSTED_DANE = Domain("untrusted", ("danewrong",), is_signed=True)
JAILED = (
    (Domain("jailed", ("valid",), in_testing("valid"), site="jailed"), {SUCCESS: MAILS}),
    (
        Domain("jailedplain", ("plain",), in_testing("plain"), site="jailed"),
        {"starttls-not-supported": MAILS},
    ),
)
RESUMED = Domain("resumed", ("valid",), in_testing("valid"))
SKIPPED = Domain("skipped", ("smart",), in_testing("smart"), site="skipping")
# the cache is tlsmgr's, which all transports share; each server has its own entry
MAIN = {"smtp_tls_session_cache_database": "btree:${data_directory}/smtp_scache"}


@pytest.fixture(scope="module")
def spots(root: None) -> Iterator[Spots]:
    domains = [UNTRUSTED_DANE, RESUMED, SKIPPED, *(domain for domain, _ in JAILED)]
    with running_bed(domains, SITES, MAIN) as bed:
        postfix = bed.senders["3.10"]
        for number in range(MAILS):  # one after another: a session can be resumed when it has ended
            recipients = [f"a{number}@{domain.name}" for domain in domains]
            for recipient in recipients:
                postfix.send(recipient)
            postfix.wait_for(recipients)
        yield Spots(bed)


def test_a_certificate_that_the_tlsa_record_does_not_trust(spots: Spots) -> None:
    """Code 203 of libtlsrpt."""
    log = spots.bed.senders["3.10"].log()
    assert "failure_type=certificate_not_trusted" in log
    expected = {"certificate-not-trusted": MAILS}
    assert spots.wait_for(UNTRUSTED_DANE, expected) == expected


@pytest.mark.parametrize(("domain", "expected"), JAILED, ids=lambda each: getattr(each, "label", None))
def test_a_chrooted_smtp_reaches_the_socket_and_is_counted(
    spots: Spots, domain: Domain, expected: dict[str, int]
) -> None:
    assert spots.wait_for(domain, expected) == expected


def test_a_session_that_is_resumed_counts_as_any_other(spots: Spots) -> None:
    assert spots.wait_for(RESUMED, {SUCCESS: MAILS}) == {SUCCESS: MAILS}


def test_resumed_sessions_that_postfix_skips_are_not_counted_and_not_taken_for_clear(spots: Spots) -> None:
    found = spots.wait_for(SKIPPED, {SUCCESS: 1})
    assert found == {SUCCESS: 1}
