"""A node of the previous release works on with the tables of this one until its turn comes; the way back is open."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

ROOT = Path(__file__).parents[2]
FOLDER = "src/mailward/store/migrations"


def new_operations() -> Iterator[tuple[str, Operation]]:
    """Of the migrations that the previous release did not have, each with the name of its migration."""
    version, commit = (ROOT / "packaging" / "previous-release").read_text().split()
    command = ["git", "-C", str(ROOT), "ls-tree", "--name-only", commit, f"{FOLDER}/"]
    listed = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert listed.returncode == 0, f"{version} is not in this clone, which must be whole: {listed.stderr}"
    known = {Path(line).stem for line in listed.stdout.split()}
    for (app, name), migration in sorted(MigrationLoader(None).disk_migrations.items()):
        if app == "store" and name not in known:
            for operation in migration.operations:
                yield name, operation


def only_adds(operation: Operation) -> bool:
    """Whether who does not know of it reads and writes as before."""
    match operation:
        case migrations.AddField(field=field):
            return bool(field.null or field.db_default is not models.NOT_PROVIDED)
        case migrations.CreateModel() | migrations.RunPython() | migrations.RunSQL():
            return True
        case migrations.AddIndex() | migrations.RemoveIndex():
            return True  # slower at most
        case _:
            return False


def test_changes_of_the_tables_only_add_to_what_the_previous_release_knows() -> None:
    assert [(name, operation) for name, operation in new_operations() if not only_adds(operation)] == []


def test_each_change_can_be_undone() -> None:
    assert [(name, operation) for name, operation in new_operations() if not operation.reversible] == []
