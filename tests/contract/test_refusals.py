"""Each change that would lock mail out is refused with its reason on each way in, until a name is typed where one may
be: with a real DNS server and a real mail server on loopback.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.mailserver import FakeMailServer
from tests.web.pages import with_settings

from mailward.config import Dns, Watch
from mailward.core.mtasts.policy import Mode, Policy
from mailward.store.models import Domain, DomainEvent, PolicyProfile, PolicyVersion, ProfileChange
from mailward.store.services import waves
from mailward.store.services.policies import publish_policy
from mailward.worker.watch import watcher_for

MX = "mx.example.test"
ENFORCE = Policy(Mode.ENFORCE, 604_800, (MX,))
TESTING = replace(ENFORCE, mode=Mode.TESTING)
NONE = Policy(Mode.NONE, 86_400)
HAZARDS = {
    # code -> what is published before, what is wanted, and the reason
    "mx-not-covered": (TESTING, ENFORCE, "mx2.example.test is an MX host and not in the policy"),
    "mx-certificate": (TESTING, ENFORCE, f"Strict senders would refuse {MX}: Certificate for another name"),
    "max-age-short": (
        TESTING,
        replace(ENFORCE, max_age_seconds=3_600),
        "A max_age of 3600 seconds is under a day",
    ),
    "never-tested": (NONE, ENFORCE, "From no policy to enforce: no report has shown that enforce is safe"),
}
hazards = pytest.mark.parametrize("code", HAZARDS)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def world(code: str, authority: Authority) -> Iterator[None]:
    dns = FakeDns()
    dns.set(MX, "A", "127.0.0.1")
    more = ["20 mx2.example.test."] if code == "mx-not-covered" else []
    dns.set("example.test", "MX", f"10 {MX}.", *more)
    server = FakeMailServer(authority.issue("other.example.net" if code == "mx-certificate" else MX))
    with server.running(), dns.threaded():
        asked = Dns(
            resolvers=(dns.address,), authoritative_override=(dns.address,), allow_private_addresses=True
        )
        watch = Watch(smtp_port=server.port, ca_file=str(authority.file), https_port=1, probes_per_hour=100)
        with with_settings(dns=asked, watch=watch):
            yield


def publish(domain: Domain, policy: Policy) -> None:
    publish_policy(domain.organisation_id, domain.pk, policy, author_id=None)


def modes() -> list[str]:
    return list(PolicyVersion.objects.order_by("number").values_list("mode", flat=True))


@hazards
def test_an_edit(alice: Client, domain: Domain, authority: Authority, code: str) -> None:
    before, wanted, reason = HAZARDS[code]
    publish(domain, before)
    values = {
        "mode": wanted.mode, "mx": "\n".join(wanted.mx), "age": "other", "other_age": wanted.max_age_seconds,
        "reason": "", "based_on": 1, "step": "publish",
    }  # fmt: skip
    with world(code, authority):
        address = reverse("domain-policy-edit", args=[domain.name])
        shown = alice.post(address, values).content.decode()
        assert f'id="refused-{code}"' in shown
        assert reason in shown
        assert modes() == [before.mode]
        alice.post(address, values | {"confirm": domain.name})
    assert modes() == [before.mode, "enforce"]
    assert reason in DomainEvent.objects.get(kind="policy-forced").text


@hazards
def test_an_older_version_that_is_restored(
    alice: Client, domain: Domain, authority: Authority, code: str
) -> None:
    before, wanted, reason = HAZARDS[code]
    publish(domain, wanted)
    publish(domain, before)
    with world(code, authority):
        shown = alice.post(reverse("domain-restore", args=[domain.name, 1])).content.decode()
    assert f'id="refused-{code}"' in shown
    assert reason in shown
    assert modes() == ["enforce", before.mode]


@hazards
def test_a_change_of_a_profile(alice: Client, domain: Domain, authority: Authority, code: str) -> None:
    before, wanted, reason = HAZARDS[code]
    publish(domain, before)
    with world(code, authority):
        async_to_sync(watcher_for(django_settings.MAILWARD).watch)(domain.pk)
    days = wanted.max_age_seconds / 86_400
    values = {"mode": "testing", "max_age_days": "7", "mx": ""}
    alice.post("/profiles/new/", values | {"name": "All"})
    profile = PolicyProfile.objects.get()
    alice.post(f"/profiles/{profile.pk}/members/", {"everything": "on"})
    change = values | {
        "mode": "enforce",
        "mx": MX,
        "max_age_days": str(days),
        "wave_hours": "0",
        "reason": "",
    }
    refused = alice.post(f"/profiles/{profile.pk}/change/", change).content.decode()
    if code == "max-age-short":
        # its field takes whole days
        assert not ProfileChange.objects.exists()
        assert "max_age_days" in refused
        return
    made = ProfileChange.objects.get()
    while waves.step(made.pk):
        pass
    assert reason in alice.get(f"/changes/{made.pk}/?show=refused").content.decode()
    alice.post(f"/changes/{made.pk}/act/", {"act": "start"})
    while waves.step(made.pk):
        pass
    assert modes() == [before.mode]
