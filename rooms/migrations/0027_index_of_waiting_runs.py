from importlib import import_module

from django.db import migrations, models

import rooms.indexes

AddIndexOnline = import_module("rooms.migrations.0009_indexes_of_large_tables").AddIndexOnline


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY does not run in a transaction

    dependencies = [
        ("rooms", "0026_prompts"),
    ]

    operations = [
        AddIndexOnline(
            model_name='run',
            index=rooms.indexes.PartialIndex(condition=models.Q(('state', 'waiting')), fields=['team', 'state'], name='run_waits'),
        ),
    ]
