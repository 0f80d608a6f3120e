from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# Rows that are updated often leave room in their pages, so that the new version of a row fits into
# the page of the old one and no index is written (HOT). Tables with millions of rows are vacuumed
# after a hundredth of them has changed instead of a fifth: each run is then short.
OFTEN_UPDATED = {"rooms_room": 50, "rooms_roommember": 75, "rooms_teamquota": 50, "rooms_run": 80}
LARGE = ("rooms_message", "rooms_roomevent", "rooms_run")
SCALE_FACTORS = (
    "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.02, "
    "autovacuum_analyze_scale_factor = 0.01"
)


def set_storage_parameters(apps: Any, schema_editor: Any) -> None:
    """Set the storage parameters in PostgreSQL; they rewrite no table."""
    if schema_editor.connection.vendor != "postgresql":
        return
    for table, percent in OFTEN_UPDATED.items():
        schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = {percent})")
    for table in LARGE:
        schema_editor.execute(f"ALTER TABLE {table} SET ({SCALE_FACTORS})")


def reset_storage_parameters(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    names = ", ".join(part.split()[0] for part in SCALE_FACTORS.split(", "))
    for table in OFTEN_UPDATED:
        schema_editor.execute(f"ALTER TABLE {table} RESET (fillfactor)")
    for table in LARGE:
        schema_editor.execute(f"ALTER TABLE {table} RESET ({names})")


class DropIndexOfKey(migrations.AlterField):
    """Drops the index of a foreign key in PostgreSQL by name.

    Django's own operation also creates the constraint again, which reads the whole table under a
    lock.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = from_state.apps.get_model(app_label, self.model_name)
        column = model._meta.get_field(self.name).column
        kept = {index.name for index in model._meta.indexes}
        for name in schema_editor._constraint_names(model, [column], index=True, unique=False, exclude=kept):
            schema_editor.execute(f'DROP INDEX "{name}"')


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0004_handles_of_members'),
        ('rooms', '0009_indexes_of_large_tables'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='run',
            name='run_queue',
        ),
        migrations.RemoveIndex(
            model_name='run',
            name='run_leases',
        ),
        migrations.RemoveIndex(
            model_name='run',
            name='run_open_in_room',
        ),
        DropIndexOfKey(
            model_name='message',
            name='persona',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='agents.persona'),
        ),
        DropIndexOfKey(
            model_name='message',
            name='reply_to',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='rooms.message'),
        ),
        DropIndexOfKey(
            model_name='message',
            name='room',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='messages', to='rooms.room'),
        ),
        DropIndexOfKey(
            model_name='message',
            name='user',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        DropIndexOfKey(
            model_name='roomevent',
            name='room',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='rooms.room'),
        ),
        DropIndexOfKey(
            model_name='run',
            name='persona',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='runs', to='agents.persona'),
        ),
        DropIndexOfKey(
            model_name='run',
            name='room',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='runs', to='rooms.room'),
        ),
        DropIndexOfKey(
            model_name='run',
            name='stopped_by',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.RunPython(set_storage_parameters, reset_storage_parameters),
    ]
