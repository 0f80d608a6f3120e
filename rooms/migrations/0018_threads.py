import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('rooms', '0017_votes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='room',
            name='answers_in',
            field=models.CharField(choices=[('room', 'In the room, below the message'), ('thread', 'In a thread of the message')], db_default='room', default='room', max_length=8, verbose_name='where personas answer'),
        ),
        migrations.AddField(
            model_name='message',
            name='thread_root',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='rooms.message'),
        ),
        migrations.AddField(
            model_name='message',
            name='in_room',
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AddField(
            model_name='message',
            name='reply_count',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='message',
            name='last_reply_seq',
            field=models.PositiveBigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='message',
            name='last_reply_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='message',
            name='reply_authors',
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='thread',
            field=models.UUIDField(null=True),
        ),
        migrations.CreateModel(
            name='ThreadFollower',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('following', models.BooleanField(default=True)),
                ('read_seq', models.PositiveBigIntegerField(default=0)),
                ('room', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='rooms.room')),
                ('root', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='followers', to='rooms.message')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.AddIndex(
            model_name='threadfollower',
            index=models.Index(fields=['room', 'user'], name='thread_follower_of_room'),
        ),
        migrations.AddConstraint(
            model_name='threadfollower',
            constraint=models.UniqueConstraint(fields=('root', 'user'), name='thread_follower_once'),
        ),
    ]
