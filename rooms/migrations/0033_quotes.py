import django.db.models.deletion
from django.db import migrations, models

from accounts.database.operations import SetStorageParameters


class Migration(migrations.Migration):

    dependencies = [
        ("rooms", "0032_index_of_asked_people"),
    ]

    operations = [
        migrations.CreateModel(
            name='Quote',
            fields=[
                ('pk', models.CompositePrimaryKey('call_id', 'message_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('call', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='quotes', to='rooms.toolcall')),
                ('message', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='rooms.message')),
            ],
            options={
                'default_permissions': (),
                'indexes': [models.Index(fields=['message'], name='quote_of_message')],
            },
        ),
        SetStorageParameters(fillfactors={}, large=['rooms_quote']),
        migrations.RemoveIndex(
            model_name='toolcall',
            name='tool_call_quotes',
        ),
        migrations.RemoveField(
            model_name='toolcall',
            name='quotes_room',
        ),
    ]
