from importlib import import_module
from typing import Any
from uuid import UUID

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import OuterRef, Subquery

of_large_tables = import_module("rooms.migrations.0010_fewer_indexes")
DropIndexOfKey = of_large_tables.DropIndexOfKey

READS = [UUID(int=0x7001_0000_0000_7000_8000_0000_0000_0000 + number) for number in (3, 4)]
# A call is written twice after its insert: when it begins, and with its result.
OFTEN_UPDATED = {"rooms_toolcall": 70}
LARGE = ("rooms_toolcall", "rooms_modelrequest", "rooms_runprompt")


def set_quotes(apps: Any, schema_editor: Any) -> None:
    calls = apps.get_model("rooms", "ToolCall").objects.filter(tool__in=READS)
    runs = apps.get_model("rooms", "Run").objects.filter(pk=OuterRef("run"))
    calls.update(quotes_room=Subquery(runs.values("room")))


def set_storage_parameters(apps: Any, schema_editor: Any) -> None:
    """Set the storage parameters in PostgreSQL; they rewrite no table."""
    if schema_editor.connection.vendor != "postgresql":
        return
    for table, percent in OFTEN_UPDATED.items():
        schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = {percent})")
    for table in LARGE:
        schema_editor.execute(f"ALTER TABLE {table} SET ({of_large_tables.SCALE_FACTORS})")


def reset_storage_parameters(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.vendor != "postgresql":
        return
    names = ", ".join(part.split()[0] for part in of_large_tables.SCALE_FACTORS.split(", "))
    for table in OFTEN_UPDATED:
        schema_editor.execute(f"ALTER TABLE {table} RESET (fillfactor)")
    for table in LARGE:
        schema_editor.execute(f"ALTER TABLE {table} RESET ({names})")


class Migration(migrations.Migration):

    dependencies = [
        ("rooms", "0027_index_of_waiting_runs"),
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
        migrations.RunPython(set_quotes, migrations.RunPython.noop),
    ]
