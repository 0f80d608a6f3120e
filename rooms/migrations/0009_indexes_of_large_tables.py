from typing import Any

from django.db import migrations, models

import rooms.indexes

class AddIndexOnline(migrations.AddIndex):
    """Adds an index without a lock on the table: processes write while PostgreSQL builds it.

    The migration can be repeated after it was interrupted, which leaves an invalid index.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        schema_editor.execute(f"DROP INDEX IF EXISTS {self.index.name}")
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.add_index(model, self.index, concurrently=True)


class Migration(migrations.Migration):

    atomic = False  # CREATE INDEX CONCURRENTLY does not run in a transaction

    dependencies = [
        ('rooms', '0008_count_unread'),
    ]

    operations = [
        AddIndexOnline(
            model_name='message',
            index=models.Index(condition=models.Q(('user__isnull', False)), fields=['user'], name='message_of_user'),
        ),
        AddIndexOnline(
            model_name='message',
            index=models.Index(condition=models.Q(('reply_to__isnull', False)), fields=['reply_to'], name='message_replies'),
        ),
        AddIndexOnline(
            model_name='run',
            index=rooms.indexes.PartialIndex(condition=models.Q(('state', 'queued')), fields=['team', 'state', 'queued_at', 'id'], name='run_waiting'),
        ),
        AddIndexOnline(
            model_name='run',
            index=rooms.indexes.PartialIndex(condition=models.Q(('state', 'running')), fields=['state', 'team'], name='run_running'),
        ),
        AddIndexOnline(
            model_name='run',
            index=rooms.indexes.PartialIndex(condition=models.Q(('state__in', ['queued', 'running'])), fields=['room', 'state'], name='run_active_in_room'),
        ),
        AddIndexOnline(
            model_name='run',
            index=models.Index(fields=['room', 'ended_at'], name='run_of_room'),
        ),
        AddIndexOnline(
            model_name='run',
            index=models.Index(condition=models.Q(('stopped_by__isnull', False)), fields=['stopped_by'], name='run_stopped_by'),
        ),
    ]
