"""The page of all records, and its files."""

import csv
import io
import re
import time
import zipfile

from django.test import Client
from django.urls import reverse
from tests.fakes.evidence import make_domains
from tests.web.pages import with_settings

from mailward.config import Nameserver
from mailward.monitor.records import RecordKey, RecordState, State
from mailward.store.models import Domain, Organisation
from mailward.store.services.domains import record_states

PAGE = "/domains/records/"


def test_each_domain_and_state_is_shown_and_can_be_taken_away(alice: Client, domain: Domain) -> None:
    record_states(domain.pk, [RecordState(RecordKey.TLSRPT, State.WRONG, "reports go elsewhere", ("TXT x",))])
    page = alice.get(PAGE).content.decode()
    assert "example.test" in page
    assert "wrong" in page
    rows = list(csv.DictReader(io.StringIO(alice.get(PAGE, {"form": "csv"}).content.decode())))
    states = {row["record"]: row["state"] for row in rows}
    assert states["_smtp._tls"] == "wrong"
    assert states["mta-sts"] == "unasked"


def test_only_chosen_domains_and_open_records_are_in_the_file(alice: Client, domain: Domain) -> None:
    make_domains(domain.organisation, ["sub.example.test", "other.test"])
    record_states(domain.pk, [RecordState(RecordKey.POLICY_HOST, State.RIGHT, "")])
    chosen = alice.get(PAGE, {"form": "zone", "names": "example.test", "only": "open"}).content.decode()
    assert "; sub.example.test\n" in chosen
    assert "other.test" not in chosen
    assert "\nmta-sts.example.test." not in chosen
    assert "mta-sts.sub.example.test. 3600 IN CNAME localhost." in chosen


def test_who_has_a_dns_server_of_their_own_is_led_to_its_page(
    alice: Client, rita: Client, domain: Domain
) -> None:
    page = reverse("domain-setup", args=[domain.name])
    leads = f'href="{reverse("dns-servers")}"'
    assert [leads in each.get(page).content.decode() for each in (alice, rita)] == [True, False]


def test_a_file_for_each_zone(alice: Client, domain: Domain) -> None:
    make_domains(domain.organisation, ["sub.example.test", "other.test"])
    archive = zipfile.ZipFile(io.BytesIO(alice.get(PAGE, {"form": "zones"}).content))
    assert archive.namelist() == ["example.test.zone", "other.test.zone"]
    assert b"_smtp._tls.sub.example.test." in archive.read("example.test.zone")


def test_domains_of_others_are_not_in_it(alice: Client, domain: Domain) -> None:
    stranger = Organisation.objects.create(name="Strangers", report_token="strangers")
    make_domains(stranger, ["secret.test"])
    for form in ("", "zone", "zones", "csv", "text"):
        assert b"secret.test" not in alice.get(PAGE, {"form": form}).content


def test_on_a_phone_each_state_says_of_which_record_it_is(alice: Client, domain: Domain) -> None:
    page = alice.get(PAGE).content.decode()
    cells = re.findall("<td[^>]*>", page)
    labels = [found[1] for cell in cells[1:] if (found := re.search('data-label="([^"]+)"', cell))]
    assert labels == ["claim", "mta-sts", "_smtp._tls"]
    assert len(cells) == 1 + len(labels)


def test_a_thousand_domains_are_there_within_a_second(alice: Client, domain: Domain) -> None:
    make_domains(domain.organisation, [f"d{number:04}.test" for number in range(999)])
    with with_settings(nameserver=Nameserver(zone="sts.test")):
        alice.get(PAGE, {"names": "example.test"})
        for query in ({}, {"form": "zone"}, {"form": "csv"}):
            began = time.process_time()
            response = alice.get(PAGE, query)
            took = time.process_time() - began
            assert b"d0998.test" in response.content
            # a second on a quiet machine; this one may share its cores
            assert took < 2.0, (query, took)


def test_the_set_up_page_has_the_records_as_text(alice: Client, domain: Domain) -> None:
    page = alice.get(reverse("domain-setup", args=[domain.name])).content.decode()
    assert "mta-sts.example.test. 3600 IN CNAME localhost." in page
