import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # no transaction locks both tables

    dependencies = [
        ("rooms", "0020_opened_by"),
    ]

    operations = [
        migrations.AddField(
            model_name="threadfollower",
            name="is_unread",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="mention",
            name="thread",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="mentions_inside",
                to="rooms.message",
            ),
        ),
    ]
