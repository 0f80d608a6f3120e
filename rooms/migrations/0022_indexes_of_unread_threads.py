from importlib import import_module

from django.db import migrations, models

AddIndexOnline = import_module("rooms.migrations.0009_indexes_of_large_tables").AddIndexOnline


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY does not run in a transaction

    dependencies = [
        ("rooms", "0021_unread_threads"),
    ]

    operations = [
        AddIndexOnline(
            model_name="threadfollower",
            index=models.Index(
                condition=models.Q(("is_unread", True)),
                fields=["user", "room"],
                name="thread_follower_unread",
            ),
        ),
        AddIndexOnline(
            model_name="mention",
            index=models.Index(
                condition=models.Q(("thread__isnull", False)),
                fields=["thread", "user"],
                name="mention_of_thread",
            ),
        ),
    ]
