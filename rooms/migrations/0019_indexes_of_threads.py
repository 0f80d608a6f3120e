from importlib import import_module

from django.db import migrations, models

AddIndexOnline = import_module("rooms.migrations.0009_indexes_of_large_tables").AddIndexOnline


class Migration(migrations.Migration):

    atomic = False  # CREATE INDEX CONCURRENTLY does not run in a transaction

    dependencies = [
        ('rooms', '0018_threads'),
    ]

    operations = [
        AddIndexOnline(
            model_name='message',
            index=models.Index(condition=models.Q(('in_room', True)), fields=['room', 'seq'], name='message_in_room'),
        ),
        AddIndexOnline(
            model_name='message',
            index=models.Index(condition=models.Q(('thread_root__isnull', False)), fields=['thread_root', 'seq'], name='message_of_thread'),
        ),
    ]
