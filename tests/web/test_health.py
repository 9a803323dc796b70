"""The page Health: what was found, for those who run the installation and nobody else."""

from datetime import timedelta

import pytest
from django.test import Client

from mailward.net import clock
from mailward.store.models import HealthLook
from mailward.store.services import health

pytestmark = pytest.mark.django_db


def look(*findings: tuple[str, str, str, str]) -> HealthLook:
    found = [{"grade": grade, "code": code, "text": text, "fix": fix} for grade, code, text, fix in findings]
    return HealthLook.objects.create(
        machine="host.test",
        looked_at=clock.now(),
        sections=[{"name": "names", "title": "Names in DNS", "findings": found}],
        problems=[f"names/{code}" for grade, code, _, _ in findings if grade == "problem"],
    )


def page(client: Client) -> str:
    answer = client.get("/health/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_before_the_first_look_the_page_says_when_it_comes(alice: Client) -> None:
    assert "Nobody has looked yet" in page(alice)


def test_when_all_is_well_it_says_so_at_once(alice: Client) -> None:
    look(("good", "fine", "policies.example.org leads to 192.0.2.1", ""))
    shown = page(alice)
    assert "No problems" in shown
    assert "<details" in shown
    assert " open>" not in shown.partition("<main")[2]


def test_a_problem_stands_open_with_what_to_change_and_is_counted_in_the_menu(bob: Client) -> None:
    look(
        ("unseen", "not-observed", "a firewall is not seen", ""),
        (
            "problem",
            "no-address",
            "policies.example.org has no address",
            "policies.example.org. IN A 192.0.2.1",
        ),
    )
    shown = page(bob)
    assert "1 problem</span>" in shown
    assert "policies.example.org. IN A 192.0.2.1" in shown
    assert "Customers lead their names here by CNAME" in shown
    assert 'title="problems of the installation">1<' in shown


def test_what_strangers_wrote_is_shown_and_not_obeyed(alice: Client) -> None:
    look(("problem", "no-address", "<script>x</script>\u202e", "<b>"))
    shown = page(alice)
    assert "&lt;script&gt;x&lt;/script&gt;[U+202E]" in shown
    assert '<pre class="code-block">&lt;b&gt;</pre>' in shown


def test_guests_do_not_see_that_there_is_such_a_page(alice: Client, charlie: Client) -> None:
    assert "/health/" in alice.get("/domains/").content.decode()
    assert "/health/" not in charlie.get("/domains/").content.decode()


def test_the_button_asks_once_a_minute(alice: Client) -> None:
    row = look(("good", "fine", "well", ""))
    HealthLook.objects.update(looked_at=clock.now().replace(year=2025))
    assert "Look now" in page(alice)
    assert alice.post("/health/").status_code == 302
    row.refresh_from_db()
    assert row.asked_at is not None
    assert 'http-equiv="refresh"' in page(alice)
    assert "less than a minute ago" in alice.post("/health/", follow=True).content.decode()


def test_a_machine_that_stopped_looking_is_told_and_its_old_findings_count_no_more(alice: Client) -> None:
    look(("problem", "no-address", "policies.example.org has no address", ""))
    HealthLook.objects.create(machine="old.test", looked_at=clock.now() - timedelta(days=2))
    shown = page(alice)
    assert 'title="problems of the installation">1<' in shown
    assert shown.count("No problems") == 0
    assert "Has not looked for long" in shown.partition('aria-label="old.test"')[2]
    HealthLook.objects.update(looked_at=clock.now() - timedelta(days=2))
    shown = page(alice)
    assert "problems of the installation" not in shown
    assert shown.count("Has not looked for long") == 2


def test_a_machine_that_is_gone_keeps_nobody_waiting_for_its_look(alice: Client) -> None:
    asked = clock.now() - timedelta(minutes=6)
    row = look(("good", "fine", "well", ""))
    HealthLook.objects.update(asked_at=asked, looked_at=asked + timedelta(minutes=1))
    HealthLook.objects.create(machine="old.test", asked_at=asked, looked_at=asked - timedelta(days=1))
    shown = page(alice)
    assert 'http-equiv="refresh"' not in shown
    assert "Look now" in shown
    row.refresh_from_db()
    assert alice.post("/health/").status_code == 302
    assert 'http-equiv="refresh"' in page(alice)


def test_a_machine_that_ended_before_its_first_look_is_forgotten(alice: Client) -> None:
    assert health.is_due("old.test", None) is False
    assert health.is_due("host.test", timedelta(hours=6))
    health.keep("host.test", [], 1.0)
    assert "old.test" not in page(alice)
    # it was only slow
    health.keep("old.test", [], 1.0)
    assert "old.test" in page(alice)
