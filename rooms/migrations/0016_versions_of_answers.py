from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rooms", "0015_reasons_of_failures")]

    operations = [
        migrations.AddField(
            model_name="message",
            name="answer_version",
            field=models.PositiveSmallIntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name="message",
            name="persona_version",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="message",
            name="replaced_by",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="message",
            name="replaces",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="run",
            name="replaces",
            field=models.UUIDField(null=True),
        ),
    ]
