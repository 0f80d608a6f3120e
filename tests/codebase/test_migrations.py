"""Migrations of large tables build their indexes without a lock."""

from typing import Final

from django.db.migrations import AddIndex
from django.db.migrations.loader import MigrationLoader

from accounts.database.operations import AddIndexOnline

LARGE: Final = {
    *("message", "run", "roomevent", "toolcall", "modelrequest", "runprompt", "question", "quote"),
}


def test_indexes_of_large_tables_are_added_online() -> None:
    loader = MigrationLoader(None)
    locking = [
        f"{name}: {operation.index.name}"
        for (app, name), migration in loader.disk_migrations.items()
        for operation in migration.operations
        if app == "rooms" and isinstance(operation, AddIndex)
        if operation.model_name.lower() in LARGE
        if migration.atomic or not isinstance(operation, AddIndexOnline)
    ]
    assert locking == []
