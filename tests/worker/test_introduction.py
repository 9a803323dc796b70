"""What is wrong with how we introduce ourselves to MX hosts."""

from collections.abc import Iterator

import pytest
from asgiref.sync import async_to_sync
from tests.fakes.dns import FakeDns

from mailward.config import Dns, Settings, Watch
from mailward.store.services import mxlooks
from mailward.worker.introduction import check_introduction

pytestmark = pytest.mark.django_db

NAME, SOURCE = "probe.example.net", "8.8.4.4"
BACK = "4.4.8.8.in-addr.arpa"


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    server.set(NAME, "A", SOURCE)
    server.set(BACK, "PTR", f"{NAME}.")
    with server.threaded():
        yield server


def trouble(dns: FakeDns, source: str = SOURCE, name: str = NAME) -> str:
    settings = Settings(
        dns=Dns(resolvers=(dns.address,)), watch=Watch(ehlo_name=name, source_v4=source, source_v6="::1")
    )
    said = async_to_sync(check_introduction)(settings)
    assert mxlooks.introduction_trouble() == said
    return said


def test_a_name_that_leads_there_and_back_is_right(dns: FakeDns) -> None:
    assert trouble(dns) == ""


def test_a_name_that_leads_elsewhere_or_nowhere_is_told(dns: FakeDns) -> None:
    assert (
        trouble(dns, "8.8.8.8")
        == f"{NAME}, our name in EHLO, does not lead to 8.8.8.8, from where we connect."
    )
    assert trouble(dns, name="nowhere.example.net").endswith("has no address in the DNS.")


def test_an_address_whose_name_is_another_is_told_and_forgotten_once_it_is_right(dns: FakeDns) -> None:
    dns.set(BACK, "PTR", "pool-8-8-4-4.provider.example.")
    assert trouble(dns) == f"{SOURCE}, from where we connect, has no PTR record that names {NAME}."
    dns.set(BACK, "PTR", f"{NAME}.")
    assert trouble(dns) == ""


def test_behind_address_translation_nothing_is_claimed(dns: FakeDns) -> None:
    assert trouble(dns, "192.168.7.1") == ""
