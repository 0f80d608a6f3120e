import django.contrib.postgres.indexes
from django.db import migrations, models

from accounts.database.operations import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY does not run in a transaction

    dependencies = [
        ("rooms", "0031_definitions_of_calls"),
    ]

    operations = [
        AddIndexOnline(
            model_name='question',
            index=django.contrib.postgres.indexes.GinIndex(condition=models.Q(('state', 'open')), fields=['asked_of'], name='question_asked_of', opclasses=['jsonb_path_ops']),
        ),
    ]
