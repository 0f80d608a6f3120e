from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('rooms', '0001_squashed_0027_index_of_waiting_runs'),
    ]

    operations = [
        migrations.AddField(
            model_name='roomsummary',
            name='passed_over',
            field=models.JSONField(db_default=[], default=list),
        ),
    ]
