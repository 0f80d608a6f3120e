from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rooms", "0014_pins")]

    operations = [
        migrations.RemoveField(model_name="run", name="error_detail"),
        migrations.AddField(
            model_name="run",
            name="error_persona",
            field=models.CharField(blank=True, max_length=40),
        ),
        migrations.AddField(
            model_name="run",
            name="error_reason",
            field=models.CharField(blank=True, max_length=32),
        ),
    ]
