"""Operations of migrations that Django lacks."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from django.db import migrations
from django.db.migrations.operations.base import Operation

_OF_LARGE_TABLES: Final = {
    "autovacuum_vacuum_scale_factor": 0.01,
    "autovacuum_vacuum_insert_scale_factor": 0.02,
    "autovacuum_analyze_scale_factor": 0.01,
}


class CreateModels(migrations.SeparateDatabaseAndState):
    """Creates the models of `state_operations`, which may refer to each other in any order.

    Django renders all related models again after each `CreateModel`, which takes seconds for the
    models of an app. This operation renders them once.
    """

    def state_forwards(self, app_label: str, state: Any) -> None:
        state.__dict__.pop("apps", None)  # rendered when it is read next, with all models
        super().state_forwards(app_label, state)

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        for operation in self.state_operations:
            operation.database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        for operation in reversed(self.state_operations):
            operation.database_backwards(app_label, schema_editor, from_state, to_state)


class AddIndexOnline(migrations.AddIndex):
    """Adds an index without a lock on the table: processes write while PostgreSQL builds it.

    The migration must not be atomic. It can be repeated after it was interrupted, which leaves an
    invalid index.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        schema_editor.execute(f"DROP INDEX IF EXISTS {self.index.name}")
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.add_index(model, self.index, concurrently=True)


class DropIndexOfKey(migrations.AlterField):
    """Drops the index of a foreign key in PostgreSQL by name.

    Django's own operation also creates the constraint again, which reads the whole table under a
    lock.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = from_state.apps.get_model(app_label, self.model_name)
        column = model._meta.get_field(self.name).column
        kept = {index.name for index in model._meta.indexes}
        find = schema_editor._constraint_names  # noqa: SLF001 # as in Django's own operations
        for name in find(model, [column], index=True, unique=False, exclude=kept):
            schema_editor.execute(f'DROP INDEX "{name}"')


class SetStorageParameters(Operation):
    """Sets parameters of tables in PostgreSQL; rewrites no table. Does nothing in SQLite.

    `fillfactors` maps tables whose rows are updated often to a percentage: the rest of a page is
    left free, so that the new version of a row fits into the page of the old one and no index is
    written (HOT). A table in `large` has millions of rows, and is vacuumed after a hundredth of
    them has changed instead of a fifth: each run is then short.
    """

    def __init__(self, fillfactors: Mapping[str, int], large: Collection[str]) -> None:
        self.fillfactors = fillfactors
        self.large = large

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The models know no storage parameters."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            return
        for table, percent in self.fillfactors.items():
            schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = {percent})")
        factors = ", ".join(f"{name} = {factor}" for name, factor in _OF_LARGE_TABLES.items())
        for table in self.large:
            schema_editor.execute(f"ALTER TABLE {table} SET ({factors})")

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            return
        for table in self.fillfactors:
            schema_editor.execute(f"ALTER TABLE {table} RESET (fillfactor)")
        for table in self.large:
            schema_editor.execute(f"ALTER TABLE {table} RESET ({', '.join(_OF_LARGE_TABLES)})")
