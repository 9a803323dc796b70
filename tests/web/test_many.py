"""Profiles and imports on their pages."""

import re
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from tests.fakes.evidence import make_domains

from mailward.core.mtasts.policy import Mode, Policy
from mailward.net import clock
from mailward.store.models import (
    Domain,
    DomainImport,
    ImportRow,
    Organisation,
    OutboxItem,
    PolicyProfile,
    PolicyVersion,
    ProfileChange,
)
from mailward.store.services import importing, waves
from mailward.store.services.policies import publish_policy


@pytest.fixture
def profile(alice: Client, organisation: Organisation) -> PolicyProfile:
    domains = make_domains(organisation, [f"d{n:02}.test" for n in range(20)])
    for domain in domains:
        publish_policy(organisation.pk, domain.pk, Policy(Mode.TESTING, 86_400, ("mx.test",)), author_id=None)
    alice.post("/profiles/new/", {"name": "<b>Shared</b>", "mode": "testing", "max_age_days": "1", "mx": ""})
    made = PolicyProfile.objects.get()
    alice.post(f"/profiles/{made.pk}/members/", {"everything": "on"})
    return made


def change(client: Client, profile: PolicyProfile, **values: str) -> str:
    wanted = {"mode": "testing", "max_age_days": "7", "mx": "", "wave_hours": "0", "reason": "longer"}
    return client.post(f"/profiles/{profile.pk}/change/", wanted | values, follow=True).content.decode()


def test_a_domain_leaves_a_profile_and_keeps_its_policy(
    alice: Client, rita: Client, profile: PolicyProfile
) -> None:
    address = f"/profiles/{profile.pk}/"
    assert "Remove" not in rita.get(address).content.decode().partition('id="members"')[2]
    assert rita.post(f"{address}members/remove/", {"domain": "d03.test"}).status_code == 403
    shown = alice.post(f"{address}members/remove/", {"domain": "d03.test"}, follow=True).content.decode()
    assert "d03.test is out of the profile. Its policy is as before." in shown
    assert (profile.members.count(), PolicyVersion.objects.count()) == (19, 20)
    alice.post(f"{address}members/remove/", {"domain": "d03.test\0"})
    assert profile.members.count() == 19


def test_names_that_are_no_domains_of_ones_own_are_told(alice: Client, profile: PolicyProfile) -> None:
    values = {"names": "d03.test strange.test d04.test"}
    shown = alice.post(f"/profiles/{profile.pk}/members/", values, follow=True).content.decode()
    assert "Not domains of yours: strange.test." in shown
    assert "They are in the profile already." in shown
    address = f"/profiles/{profile.pk}/members/"
    shown = alice.post(address, {"names": "strange.test"}, follow=True).content.decode()
    assert "added" not in shown.partition("<h1>")[0]
    alice.post(f"{address}remove/", {"domain": "d03.test"})
    shown = alice.post(address, {"names": "d03.test"}, follow=True).content.decode()
    assert "1 domain added. Its policy is as before." in shown


def work() -> None:
    for made in ProfileChange.objects.all():
        while waves.step(made.pk):
            pass


def test_a_change_is_seen_before_it_begins_and_goes_out_wave_by_wave(
    alice: Client, profile: PolicyProfile
) -> None:
    assert "Being prepared" in change(alice, profile)
    work()
    address = f"/changes/{ProfileChange.objects.get().pk}/"
    shown = alice.get(address).content.decode()
    assert "Begin with wave 1" in shown
    assert "0 of 18 domains" in shown
    assert 'data-label="Last change">Preview</td>' in alice.get("/profiles/").content.decode()
    assert shown.count("max_age 86400 to 604800 seconds") == 20, "each domain's effect"
    assert "&lt;b&gt;Shared&lt;/b&gt;" in shown
    assert PolicyVersion.objects.filter(max_age_seconds=604_800).count() == 0
    for expected in (1, 2, 20):
        alice.post(f"{address}act/", {"act": "start"})
        work()
        assert Domain.objects.filter(current_version__max_age_seconds=604_800).count() == expected
    assert "Done" in alice.get(address).content.decode()
    alice.post(f"{address}act/", {"act": "undo"})
    work()
    assert Domain.objects.filter(current_version__max_age_seconds=604_800).count() == 0
    assert "Undone" in alice.get(address).content.decode()
    profile.refresh_from_db()
    assert profile.max_age_seconds == 86_400, "as its domains"


def test_effects_are_filtered_and_a_dropped_preview_changes_nothing(
    alice: Client, profile: PolicyProfile
) -> None:
    change(alice, profile, mode="enforce")
    work()
    address = f"/changes/{ProfileChange.objects.get().pk}/"
    assert "could not be learnt" in alice.get(f"{address}?show=refused").content.decode()
    assert "No domain would change." in alice.get(f"{address}?show=changed").content.decode()
    assert alice.get(f"{address}?show=x&page=9999999999").status_code == 200
    alice.post(f"{address}act/", {"act": "drop"})
    answer = alice.post(f"{address}act/", {"act": "start"}, follow=True).content.decode()
    assert "That was not possible any more" in answer
    assert PolicyVersion.objects.filter(number=2).count() == 0


def test_one_of_thousands_is_found_by_its_name(alice: Client, profile: PolicyProfile) -> None:
    def names(page: str) -> list[str]:
        return sorted(set(re.findall(r"d\d\d\.test", alice.get(page).content.decode())))

    assert names(f"/profiles/{profile.pk}/?q=D07") == ["d07.test"]
    shown = alice.get(f"/profiles/{profile.pk}/?q=nobody").content.decode()
    assert "None of that name." in shown
    assert "Now 0 of 20 domains" in shown
    change(alice, profile)
    work()
    page = f"/changes/{ProfileChange.objects.get().pk}/"
    assert names(f"{page}?q=d07") == ["d07.test"]
    assert names(f"{page}?q=d07&show=refused") == []
    upload(alice, b"domain\nd07.test\nb\xc3\xbccher.test\n")
    page = f"/imports/{DomainImport.objects.get().pk}/"
    assert names(f"{page}?q=d07") == ["d07.test"]
    shown = alice.get(f"{page}?q=b%C3%BCcher.test").content.decode()
    assert "bücher.test" in shown
    assert '<span class="sub">xn--bcher-kva.test</span>' in shown


def test_domains_that_would_lose_enforce_are_told_apart(
    alice: Client, organisation: Organisation, profile: PolicyProfile
) -> None:
    domain = Domain.objects.get(name="d07.test")
    publish_policy(organisation.pk, domain.pk, Policy(Mode.ENFORCE, 86_400, ("mx.test",)), author_id=None)
    change(alice, profile)
    work()
    page = f"/changes/{ProfileChange.objects.get().pk}/"
    shown = alice.get(page).content.decode()
    assert "1 domain</a> enforced its policy before this change, and does not any more with it." in shown
    shown = alice.get(f"{page}?show=weakened").content.decode()
    assert set(re.findall(r"d\d\d\.test", shown)) == {"d07.test"}
    alice.post(f"{page}act/", {"act": "drop"})
    change(alice, profile, mode="enforce")
    work()
    page = f"/changes/{ProfileChange.objects.latest('pk').pk}/"
    assert "before this change" not in alice.get(page).content.decode()


@pytest.mark.parametrize(
    "values", [{"max_age_days": "0"}, {"mode": "always"}, {"mx": "*.*.test"}, {"wave_hours": "-1"}]
)
def test_a_change_that_makes_no_sense_is_shown_again(
    alice: Client, profile: PolicyProfile, values: dict[str, str]
) -> None:
    assert "field-bad" in change(alice, profile, **values)
    assert not ProfileChange.objects.exists()


def upload(client: Client, content: bytes, name: str = "list.csv") -> str:
    answer = client.post("/domains/import/", {"file": SimpleUploadedFile(name, content)}, follow=True)
    return answer.content.decode()


def test_an_import_is_a_dry_run_until_somebody_says_so(alice: Client, organisation: Organisation) -> None:
    assert "0 of" not in upload(alice, b"domain,mx\nnew.test,mx.test\nno name,\n")
    made = DomainImport.objects.get()
    assert OutboxItem.objects.filter(kind="import", key=str(made.pk)).exists()
    ImportRow.objects.filter(verdict="").update(verdict="new", mode="testing", max_age_seconds=86_400)
    importing.end_looking(made.pk)
    shown = alice.get(f"/imports/{made.pk}/").content.decode()
    assert "1 domain would be added." in shown
    assert "Not readable" in shown
    alice.post(f"/imports/{made.pk}/act/", {"act": "start"})
    while importing.carry_out_some(made.pk):
        pass
    zone = alice.get(f"/imports/{made.pk}/records.zone")
    domain = Domain.objects.get(name="new.test")
    assert (
        f'_mailward-challenge.new.test. 3600 IN TXT "mailward-claim={domain.claim_token}"'
        in zone.content.decode()
    )
    assert "attachment" in zone.headers["Content-Disposition"]
    assert alice.get(f"/imports/{made.pk}/records.exe").status_code == 404


def test_an_import_that_is_carried_out_says_how_far_it_is(
    alice: Client, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(alice, b"domain,mx\na.test,mx.test\nb.test,mx.test\n")
    made = DomainImport.objects.get()
    ImportRow.objects.update(verdict="new", mode="testing", max_age_seconds=86_400)
    importing.end_looking(made.pk)
    alice.post(f"/imports/{made.pk}/act/", {"act": "start"})
    monkeypatch.setattr(importing, "BATCH", 1)
    importing.carry_out_some(made.pk)
    shown = alice.get(f"/imports/{made.pk}/").content.decode()
    assert "1 of 2 domains is added." in shown
    assert "records.zone" not in shown, "it would lack the rest"


def test_a_dry_run_of_yesterday_is_not_carried_out(alice: Client) -> None:
    """A policy that it saw in force elsewhere may have left it since."""
    upload(alice, b"domain,mx\nnew.test,mx.test\n")
    ImportRow.objects.update(verdict="takeover", mode="enforce", max_age_seconds=86_400)
    made = DomainImport.objects.get()
    importing.end_looking(made.pk)
    DomainImport.objects.update(created_at=clock.now() - timedelta(hours=25))
    shown = alice.post(f"/imports/{made.pk}/act/", {"act": "start"}, follow=True).content.decode()
    assert "The dry run is older than a day" in shown
    assert not importing.carry_out_some(made.pk)
    assert not Domain.objects.filter(name="new.test").exists()


def test_rows_that_dns_did_not_answer_for_are_looked_at_again(
    alice: Client, organisation: Organisation
) -> None:
    upload(alice, b"domain,mx\nnew.test,mx.test\nsilent.test,\n")
    made = DomainImport.objects.get()
    page = f"/imports/{made.pk}/"
    ImportRow.objects.filter(name="new.test").update(verdict="new", mode="testing", max_age_seconds=86_400)
    importing.end_looking(made.pk)
    assert "Look again" not in alice.get(page).content.decode()
    ImportRow.objects.filter(name="silent.test").update(verdict="without-policy", reason="no answer")
    assert "Look again at 1 without a policy" in alice.get(page).content.decode()
    OutboxItem.objects.all().delete()
    shown = alice.post(f"{page}act/", {"act": "again"}, follow=True).content.decode()
    assert "1 of 2 rows are still to be looked at" in shown
    assert OutboxItem.objects.filter(kind="import", key=str(made.pk)).exists()
    rows = ImportRow.objects.order_by("number").values_list("name", "verdict", "reason")
    assert list(rows) == [("new.test", "new", ""), ("silent.test", "", "")]


def test_a_dry_run_shows_who_would_be_enforced_by_itself(
    alice: Client, profile: PolicyProfile, organisation: Organisation
) -> None:
    PolicyProfile.objects.update(is_automatic=True, hold_days=30)
    content = b"domain,automatic\na.test,21\nb.test,no\nc.test,\nd.test,1\n"
    values = {"file": SimpleUploadedFile("list.csv", content), "profile": str(profile.pk)}
    alice.post("/domains/import/", values)
    made = DomainImport.objects.get()
    ImportRow.objects.update(verdict="new", mode="testing", max_age_seconds=86_400)
    ImportRow.objects.filter(name="d.test").update(verdict="there")
    importing.end_looking(made.pk)
    shown = alice.get(f"/imports/{made.pk}/").content.decode()
    rows = dict(
        re.findall(r'<td class="break">(.\.test)<.*?data-label="Policy">(.*?)</td>', shown, re.DOTALL)
    )
    assert "Enforce automatically after 21 days of readiness" in rows["a.test"]
    assert "Enforce by hand only" in rows["b.test"]
    assert "nforce" not in rows["c.test"] + rows["d.test"], "the profile decides; it is there already"
    assert "as the profile has it: after 30 days of readiness" in shown


@pytest.mark.parametrize(
    ("content", "words"), [(b"\xff\xfe\x00", "UTF-8"), (b"# nothing\n", "names no domain"), (b"", "empty")]
)
def test_a_list_that_cannot_be_read_is_told(alice: Client, content: bytes, words: str) -> None:
    assert words in upload(alice, content)
    assert not DomainImport.objects.exists()
