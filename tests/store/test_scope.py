import dataclasses

import pytest
from django.apps import apps

from mailward.store.models import Domain, Organisation, Role, User
from mailward.store.scope import Scope, scope_of

QUERIES = (
    "domains", "policy_versions", "record_checks", "recipients", "reports", "receipts", "raw_messages",
    "quarantined", "daily_sessions", "daily_failures", "daily_fetches", "problems", "problem_domains",
    "notifications", "memberships", "invitations", "watches", "checks", "watch_findings", "asked_checks",
    "certificates", "certificate_cares", "certificate_orders",
    "asked_looks",
    "version_steps", "domain_events", "mx_changes", "leavings", "mx_follows", "notices",
    "rollouts", "automatic_choices", "profiles", "profile_members", "profile_changes", "profile_change_domains",
    "domain_imports", "import_rows", "dns_zones", "dns_written",
)  # fmt: skip


def test_a_scope_holds_only_its_organisation(domain: Domain, alice_user: User, charlie_user: User) -> None:
    ours, theirs = scope_of(alice_user), scope_of(charlie_user)
    assert ours is not None
    assert theirs is not None
    assert list(ours.domains()) == [domain]
    assert list(theirs.domains()) == []


def test_an_organisation_one_does_not_belong_to_gives_no_scope(
    charlie_user: User, organisation: Organisation
) -> None:
    assert scope_of(charlie_user, organisation.pk) is None


def test_every_table_of_a_tenant_is_reached_through_the_scope() -> None:
    scope = Scope(1, 1, Role.OWNER)
    reached = {getattr(scope, name)().model for name in QUERIES}
    tenant_tables = {
        model
        for model in apps.get_app_config("store").get_models()
        if any(field.name == "organisation" for field in model._meta.get_fields())
    }
    assert reached == tenant_tables


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_filters_by_organisation(name: str) -> None:
    sql = str(getattr(Scope(4711, 1, Role.OWNER), name)().query)
    assert '"organisation_id" = 4711' in sql


def test_only_owners_and_administrators_write() -> None:
    scope = Scope(1, 1, Role.OWNER)
    assert [dataclasses.replace(scope, role=role).may_write for role in Role] == [True, True, False]
    assert [dataclasses.replace(scope, role=role).may_manage_people for role in Role] == [True, False, False]
