"""Migrations of large tables build their indexes without a lock."""

from typing import Final

from django.db.migrations import AddIndex
from django.db.migrations.loader import MigrationLoader

LARGE: Final = {
    **dict.fromkeys(("message", "run", "roomevent"), "0009"),
    **dict.fromkeys(("toolcall", "modelrequest", "runprompt", "question"), "0028"),
}
"""Tables of `rooms`, and the migration from which on they may be large in an installation."""


def test_indexes_of_large_tables_are_added_online() -> None:
    loader = MigrationLoader(None)
    locking = [
        f"{name}: {operation.index.name}"
        for (app, name), migration in loader.disk_migrations.items()
        for operation in migration.operations
        if app == "rooms" and isinstance(operation, AddIndex)
        if name >= LARGE.get(operation.model_name.lower(), "a")
        if migration.atomic or type(operation).__name__ != "AddIndexOnline"
    ]
    assert locking == []
