"""What every test may use: people with their roles, their organisations and a domain.

Alice owns the organisation, Bob is its administrator, Rita reads; Charlie owns another organisation.
"""

import os
import secrets
import signal
from pathlib import Path

import pytest
from django.test import Client
from hypothesis import HealthCheck, settings
from tests.postgresql import SERVER
from tests.settings import IS_POSTGRESQL

from mailward.store import ids
from mailward.store.models import Domain, Membership, Organisation, Role, User

# a busy machine must fail no test: time is no property of ours; and CI tries the same examples each time
settings.register_profile(
    "mailward", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("mailward")

# a run in the background ignores it, and each program that a test starts would inherit that; a handler is not inherited
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: None)

TESTS = Path(__file__).parent
LAST = ("core", "render", "fuzz")
"""Thousands of short ones: whichever worker is free takes the next file, so that all end at about the same time."""
FIRST = (
    "e2e",
    "upgrade",
    "zoo",
    "packaging",
    "docs",
    "lab",
    "cli",
    "hosting",
    "sender",
    "observing",
    "behind",
)
"""Whole installations: such a file may take a minute, and one that began last would let the others wait."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first. Tests that are about the other database have nothing to say."""
    items.sort(key=_rank)
    other = "sqlite" if IS_POSTGRESQL else "postgresql"
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(other)])
    items[:] = [item for item in items if not item.get_closest_marker(other)]


def _rank(item: pytest.Item) -> int:
    if TESTS not in item.path.parents:
        return 0
    folder = item.path.relative_to(TESTS).parts[0]
    if folder in FIRST:
        return FIRST.index(folder)
    return len(FIRST) + (folder in LAST)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    if IS_POSTGRESQL:
        SERVER.start()


@pytest.fixture(scope="session")
def django_db_keepdb(request: pytest.FixtureRequest) -> bool:
    """PostgreSQL drops no database that somebody is connected to; the server is thrown away as a whole."""
    return IS_POSTGRESQL or bool(request.config.getvalue("reuse_db"))


@pytest.fixture(autouse=True)
def identifiers_of_their_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identifiers never go back with the clock: after a test of the year 2027 those of today would be from then."""
    monkeypatch.setattr(ids, "_last", 0)


@pytest.fixture(autouse=True)
def counts_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """How many connections an address had is kept for a user: no test may use up those of another, or of a person."""
    folder = tmp_path_factory.getbasetemp() / f"state-{secrets.token_hex(4)}"  # made where something is kept
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))


@pytest.fixture
def organisation(db: None) -> Organisation:
    return Organisation.objects.create(name="Example Ltd", report_token="org-example")


@pytest.fixture
def strangers(db: None) -> Organisation:
    """Charlie's organisation."""
    return Organisation.objects.create(name="Strangers Inc", report_token="org-strangers")


@pytest.fixture
def domain(organisation: Organisation) -> Domain:
    return Domain.objects.create(
        organisation=organisation,
        name="example.test",
        report_token="dom-example",
        claim_token="claim-example",
    )


@pytest.fixture
def alice_user(organisation: Organisation) -> User:
    return _member("alice", organisation, Role.OWNER)


@pytest.fixture
def bob_user(organisation: Organisation) -> User:
    return _member("bob", organisation, Role.ADMINISTRATOR)


@pytest.fixture
def rita_user(organisation: Organisation) -> User:
    return _member("rita", organisation, Role.READER)


@pytest.fixture
def charlie_user(strangers: Organisation) -> User:
    return _member("charlie", strangers, Role.OWNER)


@pytest.fixture
def alice(alice_user: User) -> Client:
    return _signed_in(alice_user)


@pytest.fixture
def bob(bob_user: User) -> Client:
    return _signed_in(bob_user)


@pytest.fixture
def rita(rita_user: User) -> Client:
    return _signed_in(rita_user)


@pytest.fixture
def charlie(charlie_user: User) -> Client:
    return _signed_in(charlie_user)


def _member(name: str, organisation: Organisation, role: Role) -> User:
    user = User.objects.create_user(f"{name}@{name}.test", f"{name}-has-a-password", name=name.title())
    Membership.objects.create(organisation=organisation, user=user, role=role)
    return user


def _signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client
