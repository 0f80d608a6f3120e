from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0001_squashed_0006_mcp'),
    ]

    operations = [
        migrations.AddField(
            model_name='mcpsignin',
            name='has_ended',
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
