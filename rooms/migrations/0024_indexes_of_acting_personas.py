from importlib import import_module

from django.db import migrations, models

import rooms.indexes

AddIndexOnline = import_module("rooms.migrations.0009_indexes_of_large_tables").AddIndexOnline


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY does not run in a transaction

    dependencies = [
        ("rooms", "0023_acting_personas"),
    ]

    operations = [
        AddIndexOnline(
            model_name='run',
            index=rooms.indexes.PartialIndex(condition=models.Q(('state__in', ['queued', 'running', 'waiting'])), fields=['room', 'state'], name='run_unended_in_room'),
        ),
        AddIndexOnline(
            model_name='run',
            index=models.Index(condition=models.Q(('round__isnull', False)), fields=['round'], name='run_of_round'),
        ),
        AddIndexOnline(
            model_name='run',
            index=models.Index(condition=models.Q(('parent_call__isnull', False)), fields=['parent_call'], name='run_of_call'),
        ),
        migrations.RemoveIndex(
            model_name='run',
            name='run_active_in_room',
        ),
    ]
