from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rooms", "0014_pins")]

    # `error_detail` is dropped at once: all processes are stopped for this version (CHANGELOG.md).
    # Otherwise a column is dropped one version after its last use, because processes of two
    # versions run during an upgrade.
    operations = [
        migrations.RemoveField(model_name="run", name="error_detail"),
        migrations.AddField(
            model_name="run",
            name="error_persona",
            field=models.CharField(blank=True, db_default="", default="", max_length=40),
        ),
        migrations.AddField(
            model_name="run",
            name="error_reason",
            field=models.CharField(blank=True, db_default="", default="", max_length=32),
        ),
    ]
