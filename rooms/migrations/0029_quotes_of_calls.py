import django.db.models.deletion
from django.db import migrations, models

from accounts.database.operations import DropIndexOfKey, SetStorageParameters


class Migration(migrations.Migration):

    dependencies = [
        ("rooms", "0028_answers_passed_over"),
    ]

    operations = [
        migrations.AddField(
            model_name='toolcall',
            name='quotes_room',
            field=models.UUIDField(null=True),
        ),
        # Each of these keys begins another index of its table.
        DropIndexOfKey(
            model_name='modelrequest',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='requests', to='rooms.run'),
        ),
        DropIndexOfKey(
            model_name='toolcall',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='calls', to='rooms.run'),
        ),
        DropIndexOfKey(
            model_name='runprompt',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='prompts', to='rooms.run'),
        ),
        DropIndexOfKey(
            model_name='steer',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='steering', to='rooms.run'),
        ),
        DropIndexOfKey(
            model_name='questionanswer',
            name='question',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='answers', to='rooms.question'),
        ),
        # A call is written twice after its insert: when it begins, and with its result.
        SetStorageParameters(
            fillfactors={'rooms_toolcall': 70},
            large=['rooms_toolcall', 'rooms_modelrequest', 'rooms_runprompt'],
        ),
    ]
