"""A database of an earlier version goes on working."""

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from mailward.net import clock
from mailward.store.models import Problem, ProblemDomain

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


def test_the_migrations_make_what_the_models_say() -> None:
    # raises SystemExit with what is missing
    call_command("makemigrations", check=True, dry_run=True, verbosity=1)
