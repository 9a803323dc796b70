"""Somebody edits policies, on and on: each commit that was answered is a line `policy NAME NUMBER ID`."""

import sys
import time

import django

django.setup()

from django.db import Error as DatabaseError  # noqa: E402 - once Django is set up

from mailward.core.mtasts.policy import Mode, Policy  # noqa: E402
from mailward.store.models import Domain  # noqa: E402
from mailward.store.services.policies import publish_policy  # noqa: E402


def edit(domain: Domain) -> None:
    number = domain.versions.count()
    policy = Policy(Mode.TESTING, 100_000 + number, (f"mx.{domain.name}",))
    version = publish_policy(domain.organisation_id, domain.pk, policy, author_id=None)
    sys.stdout.write(f"policy {domain.name} {version.number} {version.policy_id}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    while True:
        try:
            for each in Domain.objects.order_by("pk")[:4]:
                edit(each)
                time.sleep(0.05)
        except DatabaseError:
            time.sleep(0.05)
