"""From a look at a domain to what a change of its policy would do."""

from tests.core.check.made import DOMAIN, MX, absent, facts, failed, found, host, record, session, tls

from mailward.core.check.rejected import change_facts, rejected
from mailward.core.mtasts.policy import Mode, Policy

ENFORCE = Policy(Mode.ENFORCE, 604_800, (MX,))


def test_a_sound_host_is_not_rejected() -> None:
    assert change_facts(facts(), ENFORCE, None).mx == (MX,)
    assert rejected(facts(), ENFORCE) == {}


def test_a_certificate_that_nobody_trusts_is() -> None:
    case = facts(hosts=(host(session(tls=tls("self-signed", 18))),))
    assert list(rejected(case, ENFORCE)) == [MX]


def test_a_host_without_starttls_is_too() -> None:
    case = facts(hosts=(host(session(tls=None, extensions=("8BITMIME",))),))
    assert list(rejected(case, ENFORCE)) == [MX]


def test_a_record_that_is_wrong_now_hides_no_fault() -> None:
    case = facts(hosts=(host(session(tls=tls("expired", 10))),), **record("v=STSv1; id=1;", "v=STSv1; id=2;"))
    assert list(rejected(case, ENFORCE)) == [MX]


def test_mx_records_that_could_not_be_asked_are_unknown() -> None:
    seen = change_facts(facts(mx=failed(DOMAIN, "MX"), hosts=()), ENFORCE, None)
    assert seen.mx is None
    assert "SERVFAIL" in seen.why_unknown


def test_a_name_without_mx_and_address_takes_no_mail() -> None:
    bare = host(name=DOMAIN, v4=absent(DOMAIN, "A"), v6=absent(DOMAIN, "AAAA"), sessions=())
    assert change_facts(facts(mx=absent(DOMAIN, "MX"), hosts=(bare,)), ENFORCE, None).mx == ()


def test_hosts_that_were_not_looked_at_are_weighed_too() -> None:
    many = found(DOMAIN, "MX", "20 mx2.example.test", f"10 {MX}", "10 .")
    assert change_facts(facts(mx=many, skipped_hosts=1), ENFORCE, None).mx == (MX, "mx2.example.test")
