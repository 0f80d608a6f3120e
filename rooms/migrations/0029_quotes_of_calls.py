from typing import Any

import django.db.models.deletion
from django.db import migrations, models

from accounts.database.operations import DropIndexOfKey

# A call is written twice after its insert: when it begins, and with its result.
OFTEN_UPDATED = {"rooms_toolcall": 70}
LARGE = ("rooms_toolcall", "rooms_modelrequest", "rooms_runprompt")
SCALE_FACTORS = {
    "autovacuum_vacuum_scale_factor": 0.01,
    "autovacuum_vacuum_insert_scale_factor": 0.02,
    "autovacuum_analyze_scale_factor": 0.01,
}


def set_storage_parameters(apps: Any, schema_editor: Any) -> None:
    """Set the storage parameters in PostgreSQL; they rewrite no table."""
    if schema_editor.connection.vendor != "postgresql":
        return
    for table, percent in OFTEN_UPDATED.items():
        schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = {percent})")
    factors = ", ".join(f"{name} = {value}" for name, value in SCALE_FACTORS.items())
    for table in LARGE:
        schema_editor.execute(f"ALTER TABLE {table} SET ({factors})")


def reset_storage_parameters(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    for table in OFTEN_UPDATED:
        schema_editor.execute(f"ALTER TABLE {table} RESET (fillfactor)")
    for table in LARGE:
        schema_editor.execute(f"ALTER TABLE {table} RESET ({', '.join(SCALE_FACTORS)})")


class Migration(migrations.Migration):

    dependencies = [
        ("rooms", "0028_answers_passed_over"),
    ]

    operations = [
        migrations.AddField(
            model_name='toolcall',
            name='quotes_room',
            field=models.UUIDField(null=True),
        ),
        # Each of these keys begins another index of its table.
        DropIndexOfKey(
            model_name='modelrequest',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='requests', to='rooms.run'),
        ),
        DropIndexOfKey(
            model_name='toolcall',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='calls', to='rooms.run'),
        ),
        DropIndexOfKey(
            model_name='runprompt',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='prompts', to='rooms.run'),
        ),
        DropIndexOfKey(
            model_name='steer',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='steering', to='rooms.run'),
        ),
        DropIndexOfKey(
            model_name='questionanswer',
            name='question',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='answers', to='rooms.question'),
        ),
        migrations.RunPython(set_storage_parameters, reset_storage_parameters),
    ]
