from importlib import import_module

from django.db import migrations, models

AddIndexOnline = import_module("rooms.migrations.0009_indexes_of_large_tables").AddIndexOnline


class Migration(migrations.Migration):

    atomic = False  # CREATE INDEX CONCURRENTLY does not run in a transaction

    dependencies = [
        ('rooms', '0018_threads'),
    ]

    # Also those of fields that 0011 and 0014 add: an index in them would be built under a lock.
    operations = [
        AddIndexOnline(
            model_name='run',
            index=models.Index(condition=models.Q(('origin__isnull', False)), fields=['origin'], name='run_of_chain'),
        ),
        AddIndexOnline(
            model_name='message',
            index=models.Index(condition=models.Q(('pinned_seq__isnull', False)), fields=['room', 'pinned_seq'], name='message_pinned'),
        ),
        AddIndexOnline(
            model_name='message',
            index=models.Index(condition=models.Q(('pinned_by__isnull', False)), fields=['pinned_by'], name='message_pinned_by'),
        ),
        AddIndexOnline(
            model_name='message',
            index=models.Index(condition=models.Q(('in_room', True)), fields=['room', 'seq'], name='message_in_room'),
        ),
        AddIndexOnline(
            model_name='message',
            index=models.Index(condition=models.Q(('thread_root__isnull', False)), fields=['thread_root', 'seq'], name='message_of_thread'),
        ),
    ]
