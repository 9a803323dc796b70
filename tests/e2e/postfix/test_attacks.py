"""Somebody on the way forges MX records, strips STARTTLS or shows a certificate of their own, and blocks what could
tell: mail to a domain whose policy was learned before waits, though the sender was killed in between.
"""

from collections.abc import Iterator

import pytest
from tests.e2e.postfix.bed import Bed, Domain, policy, running_bed
from tests.e2e.postfix.site import Site

from mailward.lab.mta import HOME
from mailward.lab.network import address
from mailward.lab.zones import DEAD, dead

pytestmark = pytest.mark.timeout(600)

ENFORCE = policy("enforce", "valid.mx.test")
NO_HTTPS = f"mta-sts A {address(DEAD)}"
RECORD = '_mta-sts TXT "v=STSv1; id=1;"'
OUTAGES = {
    "everything-down": [dead("_mta-sts"), dead("mta-sts")],
    "https-down": [RECORD, NO_HTTPS],
    "https-down-and-new-id": ['_mta-sts TXT "v=STSv1; id=2;"', NO_HTTPS],
    "record-removed": [NO_HTTPS],
}
ATTACKERS = {
    "stripped": "stripped.evil.test",  # without STARTTLS
    "owncert": "owncert.evil.test",  # with a good certificate for its own name
    "forged": "forged.evil.test",  # with one for the real name, signed by itself
    "tlsa": "dane.mx.test",  # with DANE that holds
}

CRASHES = 5
PROTECTED = [f"{outage}-{attacker}" for outage in OUTAGES for attacker in ATTACKERS]


def forged_mx(attacker: str) -> str:
    return f"@ MX 10 {ATTACKERS[attacker]}."


@pytest.fixture(scope="module")
def bed(root: None) -> Iterator[Bed]:
    """In which everything happened: first contact, kill -9, the attack, a start, mail."""
    labels = [*PROTECTED, *(f"unprotected-{attacker}" for attacker in ATTACKERS)]
    domains = [Domain(label, policy=ENFORCE if label in PROTECTED else "") for label in labels]
    with running_bed(domains, [Site("may", 8461)]) as bed:
        for label in labels:
            bed.send(label)
        for version in bed.senders:
            for label in labels:
                assert bed.delivery(label, version).status == "sent"
        bed.sites["may"].wait_for_policies(
            len(PROTECTED)
        )  # on a busy machine they are learned after the answer
        bed.sites["may"].kill()
        for domain in domains:
            outage, _, attacker = domain.label.rpartition("-")
            bed.dns.change(f"{domain.name}.", forged_mx(attacker), *OUTAGES.get(outage, []))
        for postfix in bed.senders.values():
            postfix.forget_log()
        bed.sites["may"].spawn(bed.network)
        bed.sites["may"].wait()
        for label in labels:
            bed.send(label)
        yield bed


@pytest.mark.parametrize("version", ["3.7", "3.10"])
@pytest.mark.parametrize("label", PROTECTED)
def test_mail_to_a_protected_domain_waits(bed: Bed, label: str, version: str) -> None:
    delivery = bed.delivery(label, version)
    assert (delivery.status, delivery.dsn[0]) == ("deferred", "4"), delivery
    assert bed.mailboxes.count(bed.recipient(label, version)) == {"valid.mx.test TLS": 1}


@pytest.mark.parametrize("version", ["3.7", "3.10"])
@pytest.mark.parametrize("attacker", ATTACKERS)
def test_the_same_attack_gets_the_mail_of_a_domain_without_protection(
    bed: Bed, attacker: str, version: str
) -> None:
    label = f"unprotected-{attacker}"
    assert bed.delivery(label, version).status == "sent"
    by = f"{ATTACKERS[attacker]} {'plain' if attacker == 'stripped' else 'TLS'}"
    assert bed.mailboxes.wait_for(bed.recipient(label, version), 2) == {"valid.mx.test TLS": 1, by: 1}


def test_crashes_under_attack_let_nothing_through(bed: Bed) -> None:
    site = bed.sites["may"]
    recipients = [
        bed.recipient(f"{outage}-stripped", version) for outage in OUTAGES for version in bed.senders
    ]
    before = {version: postfix.log().count("status=deferred") for version, postfix in bed.senders.items()}
    for _ in range(CRASHES):
        site.kill()
        for version, postfix in bed.senders.items():
            for outage in OUTAGES:
                postfix.stream(bed.recipient(f"{outage}-stripped", version), 5)
        site.spawn(bed.network)
        for postfix in bed.senders.values():
            postfix.command("postqueue", "-c", HOME, "-f")  # all of them are tried again at once
        site.wait()
    for version, postfix in bed.senders.items():
        postfix.wait_for_count("status=deferred", before[version] + CRASHES * 5 * len(OUTAGES))
    assert {to: bed.mailboxes.count(to) for to in recipients} == {
        to: {"valid.mx.test TLS": 1} for to in recipients
    }
