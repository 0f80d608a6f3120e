"""Operations of migrations that Django lacks."""

from typing import Any

from django.db import migrations


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
