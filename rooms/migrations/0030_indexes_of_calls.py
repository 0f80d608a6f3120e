import django.db.models.deletion
from django.db import migrations, models

from accounts.database.operations import AddIndexOnline, DropIndexOfKey


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY does not run in a transaction

    dependencies = [
        ("rooms", "0029_quotes_of_calls"),
    ]

    operations = [
        AddIndexOnline(
            model_name='toolcall',
            index=models.Index(condition=models.Q(('decided_at__isnull', True), ('expires_at__isnull', False)), fields=['expires_at'], name='tool_call_undecided'),
        ),
        migrations.RemoveIndex(
            model_name='toolcall',
            name='tool_call_asked',
        ),
        AddIndexOnline(
            model_name='toolcall',
            index=models.Index(condition=models.Q(('quotes_room__isnull', False)), fields=['quotes_room'], name='tool_call_quotes'),
        ),
        AddIndexOnline(
            model_name='question',
            index=models.Index(fields=['room', 'state'], name='question_of_room'),
        ),
        DropIndexOfKey(
            model_name='question',
            name='room',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='rooms.room'),
        ),
    ]
