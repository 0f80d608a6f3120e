"""Rooms that everyone who joins the team is added to, and the welcome of a new member."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("rooms", "0011_who_answers"),
    ]

    operations = [
        migrations.AddField(
            model_name="room",
            name="for_everyone",
            field=models.BooleanField(db_default=False, default=False, verbose_name="for everyone"),
        ),
        migrations.AddField(
            model_name="roommember",
            name="welcome",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
    ]
