"""A database of an earlier version goes on working."""

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from mailward.net import clock
from mailward.store.models import (
    CertificateCare,
    Domain,
    MxChange,
    Organisation,
    OwnNameCare,
    PolicyVersion,
    Problem,
    ProblemDomain,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def test_problems_of_before_watching_are_those_of_reports() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([("store", "0002_orphans")])
    apps = executor.loader.project_state([("store", "0002_orphans")]).apps
    organisation = apps.get_model("store", "Organisation").objects.create(
        name="Example Ltd", report_token="o"
    )
    domain = apps.get_model("store", "Domain").objects.create(
        organisation=organisation, name="one.test", report_token="d", claim_token="c"
    )
    days = {"first_day": clock.today(), "last_day": clock.today()}
    problem = apps.get_model("store", "Problem").objects.create(
        organisation=organisation,
        result_type="certificate-expired",
        host="mx.test",
        opened_at=clock.now(),
        **days,
    )
    apps.get_model("store", "ProblemDomain").objects.create(
        organisation=organisation, problem=problem, domain=domain, **days
    )
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    row = Problem.objects.get()
    assert (row.result_type, row.reported_as, row.cause) == ("certificate-expired",) * 2 + (
        "certificate-expired",
    )
    touched = ProblemDomain.objects.get()
    assert (touched.is_reported, touched.is_checked) == (True, False)


def test_when_a_policy_of_before_was_announced_is_in_the_history() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([("store", "0016_own_names")])
    apps = executor.loader.project_state([("store", "0016_own_names")]).apps
    organisation = apps.get_model("store", "Organisation").objects.create(name="Example", report_token="o")
    domain = apps.get_model("store", "Domain").objects.create(
        organisation=organisation, name="one.test", report_token="d", claim_token="c"
    )
    own = {"organisation": organisation, "domain": domain}
    for number in (1, 2):
        apps.get_model("store", "PolicyVersion").objects.create(
            number=number, policy_id=f"id{number}", mode="testing", max_age_seconds=1, text="", **own
        )
    at = clock.now()
    text = "Every policy host serves version 1: its id id1 is told"
    apps.get_model("store", "DomainEvent").objects.create(kind="policy-announced", at=at, text=text, **own)
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    found = PolicyVersion.objects.order_by("number").values_list("announced_at", flat=True)
    assert list(found) == [at, None]


def test_what_an_older_release_cannot_read_is_put_in_its_words_on_the_way_back() -> None:
    organisation = Organisation.objects.create(name="Example", report_token="o")
    domain = Domain.objects.create(
        organisation=organisation, name="one.test", report_token="d", claim_token="c"
    )
    own = {"due_at": clock.now(), "state": "away"}
    CertificateCare.objects.create(domain=domain, organisation=organisation, **own)
    OwnNameCare.objects.create(host="policies.test", **own)
    OwnNameCare.objects.create(host="reports.test", due_at=clock.now(), state="good")
    for state, subject in (("left", "mx1.one.test"), ("noticed", "mx2.one.test")):
        MxChange.objects.create(
            organisation=organisation,
            domain=domain,
            kind="departed",
            subject=subject,
            state=state,
            noticed_at=clock.now(),
        )
    MigrationExecutor(connection).migrate([("store", "0016_own_names")])
    with connection.cursor() as cursor:
        cursor.execute("SELECT state, ended_at IS NULL FROM store_mxchange ORDER BY subject")
        assert [(state, bool(is_open)) for state, is_open in cursor.fetchall()] == [
            ("withdrawn", False),
            ("noticed", True),
        ]
        cursor.execute("SELECT state FROM store_certificatecare")
        assert cursor.fetchall() == [("queued",)]
        cursor.execute("SELECT host, state FROM store_ownnamecare ORDER BY host")
        assert cursor.fetchall() == [("policies.test", "queued"), ("reports.test", "good")]


def test_the_migrations_make_what_the_models_say() -> None:
    # raises SystemExit with what is missing
    call_command("makemigrations", check=True, dry_run=True, verbosity=1)
