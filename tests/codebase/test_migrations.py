"""Migrations of large tables build their indexes without a lock."""

from typing import Final

from django.db.migrations import AddIndex
from django.db.migrations.loader import MigrationLoader

LARGE: Final = {"message", "run", "roomevent"}
FIRST: Final = "0009"
"""The tables of an installation may be large from this migration of `rooms` on."""


def test_indexes_of_large_tables_are_added_online() -> None:
    loader = MigrationLoader(None)
    locking = [
        f"{name}: {operation.index.name}"
        for (app, name), migration in loader.disk_migrations.items()
        for operation in migration.operations
        if app == "rooms" and name >= FIRST and isinstance(operation, AddIndex)
        if operation.model_name.lower() in LARGE
        if migration.atomic or type(operation).__name__ != "AddIndexOnline"
    ]
    assert locking == []
