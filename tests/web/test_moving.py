"""Coming from another provider, and going: with a real policy host that is somebody else's, and a real DNS server."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from tests.fakes.dns import FakeDns
from tests.web.pages import with_settings

from mailward.config import Dns, Settings, Watch
from mailward.core.mtasts.policy import Mode, Policy
from mailward.hosting.policyweb import serve_policies
from mailward.hosting.snapshot import Snapshot, SnapshotKeeper, save_snapshot
from mailward.monitor.elsewhere import Live
from mailward.net import clock
from mailward.store.models import Domain, DomainEvent, Leaving, MxFollow, PolicyVersion, RecordCheck
from mailward.store.services import leaving
from mailward.store.services.policies import announce_version, publish_policy
from mailward.web import live
from mailward.web.pages.policies import moving

THEIRS = "version: STSv1\nmode: enforce\nmx: mx1.example.test\nmx: *.mail.example.test\nmax_age: 1209600\n"
LONG = "version: STSv1\nmode: enforce\nmax_age: 86400\n" + "".join(
    f"mx: {'x' * 56}.{number:03}.test\n" for number in range(930)
)
"""Within 64 KiB, but not with CRLF at the end of each line."""
SAME = Policy(Mode.ENFORCE, 1_209_600, ("mx1.example.test", "*.mail.example.test"))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of the other provider's policy host, and the authority of its certificate."""
    folder = tmp_path_factory.mktemp("elsewhere")
    bodies = {f"mta-sts.{name}": THEIRS.encode() for name in ("example.test", "new.test")}
    bodies["mta-sts.long.test"] = LONG.encode()
    save_snapshot(Snapshot(1, bodies), folder / "snapshot.json")
    started, loop, ports = threading.Event(), asyncio.new_event_loop(), list[int]()
    ended = asyncio.Event()

    async def live() -> None:
        keeper = SnapshotKeeper(folder / "snapshot.json")
        server = await serve_policies(Settings(data=str(folder)), keeper, port=0)
        ports.append(server.port)
        started.set()
        await ended.wait()
        await server.close(grace_seconds=0)
        keeper.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(live()), daemon=True)
    thread.start()
    assert started.wait(20)
    yield ports[0], folder / "ca" / "ca.pem"
    loop.call_soon_threadsafe(ended.set)
    thread.join(10)
    loop.close()


@pytest.fixture
def dns(elsewhere: tuple[int, Path]) -> Iterator[FakeDns]:
    port, authority = elsewhere
    server = FakeDns()
    for name in ("example.test", "new.test", "long.test"):
        server.set(name, "MX", "10 mx1.example.test.")
        server.set(f"mta-sts.{name}", "A", "127.0.0.1")
        server.set(f"_mta-sts.{name}", "TXT", "v=STSv1; id=theirs;")
    with (
        server.threaded(),
        with_settings(
            dns=Dns(resolvers=(server.address,), allow_private_addresses=True),
            watch=Watch(https_port=port, ca_file=str(authority)),
        ),
    ):
        yield server


def publish(domain: Domain, policy: Policy = SAME) -> PolicyVersion:
    return publish_policy(domain.organisation_id, domain.pk, policy, author_id=None)


@pytest.fixture
def begun(domain: Domain) -> Leaving:
    """Leaving a policy that senders hold: mode none is announced, and the wait goes on."""
    announce_version(domain.pk, publish(domain).pk)
    row = leaving.begin(domain.organisation_id, domain.pk, author_id=None)
    announce_version(domain.pk, row.version_id)
    leaving.advance(domain.pk)
    return row


def page(client: Client, name: str) -> str:
    return client.get(reverse(name, args=["example.test"])).content.decode()


@pytest.mark.usefixtures("dns")
def test_what_is_in_force_elsewhere_stays_in_force_here(alice: Client, domain: Domain) -> None:
    shown = page(alice, "domain-take-over")
    assert "mode: enforce" in shown
    assert "under the id <code>theirs</code>" in shown
    alice.post(reverse("domain-take-over", args=["example.test"]))
    version = PolicyVersion.objects.get()
    assert (version.mode, version.max_age_seconds, tuple(version.mx)) == ("enforce", 1_209_600, SAME.mx)
    assert version.policy_id != "theirs"
    assert not DomainEvent.objects.filter(kind="policy-forced").exists()


@pytest.mark.usefixtures("dns")
def test_taking_over_takes_nothing_back_that_somebody_publishes_meanwhile(
    alice: Client, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Policy(Mode.TESTING, 86_400, ("mx1.example.test",))

    def look(name: str) -> Live:
        publish(domain, other)
        return live.look_at_live_policy(name)

    monkeypatch.setattr(moving, "look_at_live_policy", look)
    shown = alice.post(reverse("domain-take-over", args=["example.test"]), follow=True).content.decode()
    assert "Somebody else published another version meanwhile." in shown
    assert PolicyVersion.objects.get().mode == "testing"


def test_what_would_lock_mail_out_is_refused_when_taken_over_too(
    alice: Client, domain: Domain, dns: FakeDns
) -> None:
    dns.set("example.test", "MX", "10 mx1.example.test.", "20 other.example.net.")
    refused = alice.post(reverse("domain-take-over", args=["example.test"])).content.decode()
    assert "other.example.net is an MX host and not in the policy" in refused
    assert not PolicyVersion.objects.exists()
    alice.post(reverse("domain-take-over", args=["example.test"]), {"confirm": "example.test"})
    assert DomainEvent.objects.filter(kind="policy-forced").exists()


def test_where_there_is_nothing_it_is_said(alice: Client, domain: Domain, dns: FakeDns) -> None:
    dns.remove("mta-sts.example.test", "A")
    assert "Nothing to take over" in page(alice, "domain-take-over")
    alice.post(reverse("domain-take-over", args=["example.test"]))
    assert not PolicyVersion.objects.exists()


@pytest.mark.usefixtures("dns")
def test_an_added_domain_keeps_the_policy_that_is_live(alice: Client) -> None:
    alice.post(reverse("domain-add"), {"names": "new.test", "begin": "on"})
    version = PolicyVersion.objects.get()
    assert (version.mode, version.reason) == ("enforce", "Taken over from the live policy")


def test_an_added_domain_whose_live_policy_locks_mail_out_keeps_it_and_that_is_told(
    alice: Client, dns: FakeDns
) -> None:
    dns.set("new.test", "MX", "10 mx1.example.test.", "20 other.example.net.")
    shown = alice.post(
        reverse("domain-add"), {"names": "new.test", "begin": "on"}, follow=True
    ).content.decode()
    told = "new.test (other.example.net is an MX host and not in the policy: strict senders refuse to deliver there.)"
    assert f"Taken over as it is, and to be mended: {told}" in shown
    assert PolicyVersion.objects.get().mode == "enforce"


def test_an_added_domain_whose_live_policy_cannot_be_fetched_gets_no_weaker_one(
    alice: Client, dns: FakeDns
) -> None:
    dns.remove("mta-sts.new.test", "A")
    shown = alice.post(
        reverse("domain-add"), {"names": "new.test", "begin": "on"}, follow=True
    ).content.decode()
    told = "senders may hold a policy from elsewhere: its record announces one that could not be fetched"
    assert f"No policy yet: new.test ({told}" in shown
    assert not PolicyVersion.objects.exists()


@pytest.mark.usefixtures("dns")
def test_an_added_domain_that_was_not_looked_at_in_time_gets_none(
    alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailward.web.live._AT_ONCE", 0)  # nothing is ever looked at
    monkeypatch.setattr("mailward.web.pages.domains.adding.LIVE_SECONDS", 0.2)
    shown = alice.post(
        reverse("domain-add"), {"names": "new.test", "begin": "on"}, follow=True
    ).content.decode()
    assert "No policy yet: new.test (whether it has a policy elsewhere was not answered in time" in shown
    assert not PolicyVersion.objects.exists()


@pytest.mark.usefixtures("dns")
def test_an_added_domain_whose_live_policy_is_too_long_with_our_line_ends_waits(alice: Client) -> None:
    shown = alice.post(
        reverse("domain-add"), {"names": "long.test", "begin": "on"}, follow=True
    ).content.decode()
    assert "No policy yet: long.test (its live policy cannot be served as it is" in shown
    assert not PolicyVersion.objects.exists()


@pytest.mark.usefixtures("dns")
def test_the_next_provider_is_looked_at_before_the_names_lead_there(alice: Client, domain: Domain) -> None:
    publish(domain)
    address = reverse("domain-move", args=["example.test"])
    assert "It does." in alice.post(address, {"address": "127.0.0.1"}).content.decode()
    longer = Policy(SAME.mode, 2_419_200, SAME.mx)
    publish(domain, longer)
    told = alice.post(address, {"address": "mta-sts.example.test"}).content.decode()
    assert "127.0.0.1: its max_age is 1209600, and here 2419200" in told
    told = alice.post(address, {"address": "typo.example.test"}).content.decode()
    assert '<span class="break">typo.example.test does not exist in DNS</span>' in told


@pytest.mark.usefixtures("dns")
def test_leaving_begins_with_the_domains_name_typed_and_can_be_broken_off(
    alice: Client, domain: Domain
) -> None:
    publish(domain)
    begin = reverse("domain-leave-begin", args=["example.test"])
    alice.post(begin, {"confirm": "example"})
    assert not Leaving.objects.exists()
    alice.post(begin, {"confirm": "Example.test", "reason": "we close"})
    assert PolicyVersion.objects.order_by("-number")[0].mode == "none"
    told = page(alice, "domain-leave")
    assert ["Mode none is served" in told, "Leave records and names as they are" in told] == [True, True]
    alice.post(reverse("domain-leave-end", args=["example.test"]))
    assert Leaving.objects.get().outcome == "broken-off"
    assert "Begin to leave" in page(alice, "domain-leave")


@pytest.mark.usefixtures("dns")
def test_after_the_wait_the_page_says_what_to_remove_and_at_the_end_that_it_has_left(
    alice: Client, domain: Domain, begun: Leaving
) -> None:
    assert "a sender may hold a policy that was served here" in page(alice, "domain-leave")
    with clock.frozen(clock.now() + timedelta(days=15)):
        found = leaving.advance(domain.pk)
        assert found is not None
        ended = found[0].wait_until
        assert ended is not None
        told = page(alice, "domain-leave")
        said = f"Every policy that was ever served has ended, the last on {ended:%-d %b %Y, %H:%M} UTC."
        assert said in told
        assert "Leave records and names as they are" not in told
        assert "Not yet" not in told
        leaving.note_records(begun.pk, "ns1 has _mta-sts.example.test TXT")
        assert "ns1 has _mta-sts.example.test TXT" in page(alice, "domain-leave")
        leaving.note_records(begun.pk, "")
        assert f"example.test has left MTA-STS on {clock.now():%-d %b %Y}." in page(alice, "domain-leave")


@pytest.mark.usefixtures("dns")
def test_set_up_and_rollout_say_that_a_domain_is_leaving_and_that_it_has_left(
    alice: Client, domain: Domain, begun: Leaving
) -> None:
    assert "Leave the records as they are" in page(alice, "domain-setup")
    with clock.frozen(clock.now() + timedelta(days=15)):
        leaving.advance(domain.pk)
        leaving.tell(begun.pk, "they may go", [], "/")
        seen = {"state": "right", "observed": ["CNAME policies.test"], "checked_at": clock.now()}
        RecordCheck.objects.create(
            organisation_id=domain.organisation_id, domain=domain, record="mta-sts", **seen
        )
        told = page(alice, "domain-setup")
        assert ["Two records may go" in told, "to be removed" in told, "All records are right" in told] == [
            True,
            True,
            False,
        ]
        leaving.note_records(begun.pk, "")
        RecordCheck.objects.update(state="missing", observed=[])
        told = page(alice, "domain-setup")
        assert ["The domain has left MTA-STS" in told, "not needed" in told] == [True, True]
        assert "Begin again" in told
        assert "records: incomplete" not in told
        assert "The domain has left MTA-STS" in page(alice, "domain-rollout")


def test_mode_none_is_not_taken_to_another_provider(alice: Client, domain: Domain) -> None:
    publish(domain)
    assert reverse("domain-move", args=["example.test"]) in page(alice, "domain-policy")
    leaving.begin(domain.organisation_id, domain.pk, author_id=None)
    assert reverse("domain-move", args=["example.test"]) not in page(alice, "domain-policy")
    assert "Look whether it serves the same" not in page(alice, "domain-move")


def test_who_moves_is_told_to_switch_following_off_first(alice: Client, domain: Domain) -> None:
    publish(domain)
    assert "Switch following off first" not in page(alice, "domain-move")
    MxFollow.objects.create(organisation_id=domain.organisation_id, domain=domain, mode="all")
    assert "Switch following off first" in page(alice, "domain-move")
