"""Direct rooms, and the rooms that a member mutes or marks as a favourite."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("rooms", "0012_arrivals"),
    ]

    operations = [
        migrations.AddField(
            model_name="room",
            name="direct",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="room",
            name="direct_key",
            field=models.CharField(editable=False, max_length=64, null=True),
        ),
        migrations.AddConstraint(
            model_name="room",
            constraint=models.UniqueConstraint(
                fields=("team", "direct_key"), name="room_direct_once"
            ),
        ),
        migrations.AddField(
            model_name="roommember",
            name="favourite",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            model_name="roommember",
            name="muted",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
    ]
