"""The tables of rooms, messages and runs, and their storage parameters in PostgreSQL."""

import accounts.ids
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
import rooms.indexes
from django.conf import settings
from django.db import migrations, models

from accounts.database.operations import CreateModels, SetStorageParameters


class Migration(migrations.Migration):

    replaces = [
        ('rooms', '0001_initial'),
        ('rooms', '0002_kept_of_personas'),
        ('rooms', '0003_no_cancel_requested_at'),
        ('rooms', '0004_team_quota'),
        ('rooms', '0005_plain_labels'),
        ('rooms', '0006_room_abandoned_at'),
        ('rooms', '0007_unread_arithmetic'),
        ('rooms', '0008_count_unread'),
        ('rooms', '0009_indexes_of_large_tables'),
        ('rooms', '0010_fewer_indexes'),
        ('rooms', '0011_who_answers'),
        ('rooms', '0012_arrivals'),
        ('rooms', '0013_direct_rooms'),
        ('rooms', '0014_pins'),
        ('rooms', '0015_reasons_of_failures'),
        ('rooms', '0016_versions_of_answers'),
        ('rooms', '0017_votes'),
        ('rooms', '0018_threads'),
        ('rooms', '0019_indexes_of_threads'),
        ('rooms', '0020_opened_by'),
        ('rooms', '0021_unread_threads'),
        ('rooms', '0022_indexes_of_unread_threads'),
        ('rooms', '0023_acting_personas'),
        ('rooms', '0024_indexes_of_acting_personas'),
        ('rooms', '0025_runs_that_lead'),
        ('rooms', '0026_prompts'),
        ('rooms', '0027_index_of_waiting_runs'),
    ]

    initial = True

    dependencies = [
        ('accounts', '0001_squashed_0007_name_keys'),
        ('agents', '0001_squashed_0006_mcp'),
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        CreateModels(state_operations=[
            migrations.CreateModel(
                name='Room',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('name', models.CharField(max_length=80, verbose_name='name')),
                    ('topic', models.CharField(blank=True, max_length=250, verbose_name='topic')),
                    ('privacy', models.CharField(choices=[('private', 'Private: only people who are added'), ('team', 'Open: everyone in the team can join')], default='private', max_length=8, verbose_name='privacy')),
                    ('answer_policy', models.CharField(choices=[('default', 'The default persona answers, unless other personas are mentioned'), ('mention', 'Only mentioned personas answer'), ('thread', 'Mentioned personas answer, and keep answering in their threads'), ('off', 'No persona answers')], default='default', max_length=8, verbose_name='who answers')),
                    ('last_seq', models.PositiveBigIntegerField(default=0, editable=False)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('archived_at', models.DateTimeField(editable=False, null=True)),
                    ('deleted_at', models.DateTimeField(editable=False, null=True)),
                    ('default_persona', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='agents.persona')),
                    ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rooms', to='accounts.team')),
                    ('personas', models.ManyToManyField(related_name='rooms', through='rooms.RoomPersona', to='agents.persona')),
                    ('abandoned_at', models.DateTimeField(editable=False, null=True)),
                    ('deleted_seq', models.PositiveBigIntegerField(db_default=0, default=0, editable=False)),
                    ('last_message_at', models.DateTimeField(editable=False, null=True)),
                    ('message_count', models.PositiveBigIntegerField(db_default=0, default=0, editable=False)),
                    ('muted_personas', models.JSONField(db_default=[], default=list, editable=False)),
                    ('persona_turns', models.PositiveSmallIntegerField(db_default=0, default=0, validators=[django.core.validators.MaxValueValidator(10)], verbose_name='answers between personas')),
                    ('for_everyone', models.BooleanField(db_default=False, default=False, verbose_name='for everyone')),
                    ('direct', models.BooleanField(db_default=False, default=False, editable=False)),
                    ('direct_key', models.CharField(editable=False, max_length=64, null=True)),
                    ('answers_in', models.CharField(choices=[('room', 'In the room, below the message'), ('thread', 'In a thread of the message')], db_default='room', default='room', max_length=8, verbose_name='where personas answer')),
                    ('opened_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('lead', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='agents.persona')),
                    ('mode', models.CharField(choices=[('each', 'Each for itself, at the same time'), ('round', 'In turn: each reads the answer before it'), ('led', 'One persona leads and asks the others')], db_default='each', default='each', max_length=5, verbose_name='several personas')),
                    ('other_decides', models.BooleanField(db_default=False, default=False, verbose_name='another person decides than the one who asked')),
                    ('summarizes', models.BooleanField(db_default=True, default=True, verbose_name='keep a summary of earlier messages for personas')),
                ],
                options={
                    'permissions': [('view', 'See the room'), ('post', 'Write in the room'), ('moderate', "Stop anybody's answer in the room"), ('manage', 'Change the room, its people and its personas')],
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(fields=('team', 'direct_key'), name='room_direct_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='AllowedRoom',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('persona', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='allowed_rooms', to='agents.persona')),
                    ('room', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='rooms.room')),
                ],
                options={
                    'constraints': [
                        models.UniqueConstraint(fields=('persona', 'room'), name='allowed_room_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='InvitedRoom',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('invitation', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rooms', to='accounts.invitation')),
                    ('room', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='rooms.room')),
                ],
                options={
                    'constraints': [
                        models.UniqueConstraint(fields=('invitation', 'room'), name='invited_room_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='Message',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('seq', models.PositiveBigIntegerField()),
                    ('author_kind', models.CharField(choices=[('user', 'User'), ('persona', 'Persona')], max_length=7)),
                    ('author_name', models.CharField(max_length=40)),
                    ('author_handle', models.CharField(max_length=40)),
                    ('text', models.TextField(blank=True)),
                    ('html', models.TextField(blank=True)),
                    ('client_id', models.UUIDField(null=True)),
                    ('status', models.CharField(choices=[('complete', 'Complete'), ('streaming', 'Streaming'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='complete', max_length=9)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('edited_at', models.DateTimeField(null=True)),
                    ('deleted_at', models.DateTimeField(null=True)),
                    ('reactions', models.JSONField(default=dict)),
                    ('persona', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='agents.persona')),
                    ('reply_to', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='rooms.message')),
                    ('user', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('room', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='messages', to='rooms.room')),
                    ('capped_at', models.PositiveSmallIntegerField(null=True)),
                    ('pinned_at', models.DateTimeField(null=True)),
                    ('pinned_by', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('pinned_seq', models.PositiveBigIntegerField(null=True)),
                    ('answer_version', models.PositiveSmallIntegerField(db_default=1, default=1)),
                    ('persona_version', models.PositiveIntegerField(null=True)),
                    ('replaced_by', models.UUIDField(null=True)),
                    ('replaces', models.UUIDField(null=True)),
                    ('votes_down', models.PositiveIntegerField(db_default=0, default=0)),
                    ('votes_up', models.PositiveIntegerField(db_default=0, default=0)),
                    ('thread_root', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='rooms.message')),
                    ('in_room', models.BooleanField(db_default=True, default=True)),
                    ('reply_count', models.PositiveIntegerField(db_default=0, default=0)),
                    ('last_reply_seq', models.PositiveBigIntegerField(null=True)),
                    ('last_reply_at', models.DateTimeField(null=True)),
                    ('reply_authors', models.JSONField(null=True)),
                    ('round', models.JSONField(null=True)),
                    ('steered', models.JSONField(null=True)),
                    ('steps', models.JSONField(null=True)),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        models.Index(condition=models.Q(('deleted_at__isnull', False)), fields=['room', 'seq'], name='message_deleted'),
                        models.Index(condition=models.Q(('user__isnull', False)), fields=['user'], name='message_of_user'),
                        models.Index(condition=models.Q(('reply_to__isnull', False)), fields=['reply_to'], name='message_replies'),
                        models.Index(condition=models.Q(('pinned_seq__isnull', False)), fields=['room', 'pinned_seq'], name='message_pinned'),
                        models.Index(condition=models.Q(('pinned_by__isnull', False)), fields=['pinned_by'], name='message_pinned_by'),
                        models.Index(condition=models.Q(('in_room', True)), fields=['room', 'seq'], name='message_in_room'),
                        models.Index(condition=models.Q(('thread_root__isnull', False)), fields=['thread_root', 'seq'], name='message_of_thread'),
                    ],
                    'constraints': [
                        models.UniqueConstraint(fields=('room', 'seq'), name='message_seq_once'),
                        models.UniqueConstraint(condition=models.Q(('client_id__isnull', False)), fields=('room', 'user', 'client_id'), name='message_sent_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='Mention',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('seq', models.PositiveBigIntegerField()),
                    ('message', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='rooms.message')),
                    ('room', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='rooms.room')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('thread', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='mentions_inside', to='rooms.message')),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        models.Index(condition=models.Q(('thread__isnull', False)), fields=['thread', 'user'], name='mention_of_thread'),
                    ],
                    'constraints': [
                        models.UniqueConstraint(fields=('room', 'user', 'seq'), name='mention_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='Round',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('steps', models.JSONField(default=list)),
                    ('state', models.CharField(choices=[('running', 'Running'), ('paused', 'Paused'), ('completed', 'Completed'), ('cancelled', 'Cancelled')], default='running', max_length=9)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('ended_at', models.DateTimeField(null=True)),
                    ('message', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rounds', to='rooms.message')),
                    ('requested_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('room', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rounds', to='rooms.room')),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        models.Index(condition=models.Q(('state__in', ['running', 'paused'])), fields=['room'], name='round_active_in_room'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='ToolCall',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('request', models.PositiveSmallIntegerField()),
                    ('position', models.PositiveSmallIntegerField()),
                    ('call_id', models.CharField(max_length=200)),
                    ('tool', models.UUIDField(null=True)),
                    ('name', models.CharField(max_length=64)),
                    ('title', models.CharField(max_length=80)),
                    ('changes', models.BooleanField(default=True)),
                    ('idempotent', models.BooleanField(default=False)),
                    ('personal', models.BooleanField(default=False)),
                    ('arguments', models.TextField(blank=True)),
                    ('arguments_sha256', models.CharField(max_length=64)),
                    ('extra', models.TextField(blank=True)),
                    ('state', models.CharField(choices=[('proposed', 'Proposed'), ('asked', 'Asked'), ('allowed', 'Allowed'), ('denied', 'Denied'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed'), ('unknown', 'Unknown')], default='proposed', max_length=8)),
                    ('attempt', models.PositiveIntegerField(default=0)),
                    ('deciders', models.CharField(choices=[('asker', 'The person who asked, or a moderator'), ('moderators', 'A moderator')], default='asker', max_length=10)),
                    ('asked_of', models.JSONField(default=list)),
                    ('expires_at', models.DateTimeField(null=True)),
                    ('decided_at', models.DateTimeField(null=True)),
                    ('note', models.CharField(blank=True, max_length=400)),
                    ('for_run', models.BooleanField(default=False)),
                    ('result', models.TextField(blank=True)),
                    ('short', models.CharField(blank=True, max_length=200)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('started_at', models.DateTimeField(null=True)),
                    ('ms', models.PositiveIntegerField(null=True)),
                    ('decided_by', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='calls', to='rooms.run')),
                    ('shown_by', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        models.Index(condition=models.Q(('state', 'asked')), fields=['expires_at'], name='tool_call_asked'),
                        models.Index(condition=models.Q(('decided_by__isnull', False)), fields=['decided_by'], name='tool_call_decided_by'),
                        models.Index(condition=models.Q(('shown_by__isnull', False)), fields=['shown_by'], name='tool_call_shown_by'),
                    ],
                    'constraints': [
                        models.UniqueConstraint(fields=('run', 'request', 'position'), name='tool_call_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='Run',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('language', models.CharField(default='en', max_length=8)),
                    ('state', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('waiting', 'Waiting'), ('completed', 'Completed'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', max_length=9)),
                    ('attempt', models.PositiveIntegerField(default=0)),
                    ('lease_owner', models.CharField(blank=True, max_length=64)),
                    ('lease_until', models.DateTimeField(null=True)),
                    ('error_code', models.CharField(blank=True, max_length=32)),
                    ('input_tokens', models.PositiveIntegerField(null=True)),
                    ('output_tokens', models.PositiveIntegerField(null=True)),
                    ('queued_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('started_at', models.DateTimeField(null=True)),
                    ('ended_at', models.DateTimeField(null=True)),
                    ('answer', models.OneToOneField(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='answered_by', to='rooms.message')),
                    ('message', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='runs', to='rooms.message')),
                    ('persona', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='runs', to='agents.persona')),
                    ('requested_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('room', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='runs', to='rooms.room')),
                    ('stopped_by', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.team')),
                    ('origin', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='rooms.message')),
                    ('why', models.CharField(choices=[('named', 'Named'), ('mention', 'Mention'), ('reply', 'Reply'), ('thread', 'Thread'), ('policy', 'Policy'), ('retry', 'Retry'), ('round', 'Round'), ('led', 'Led')], db_default='policy', default='policy', max_length=8)),
                    ('error_persona', models.CharField(blank=True, db_default='', default='', max_length=40)),
                    ('error_reason', models.CharField(blank=True, db_default='', default='', max_length=32)),
                    ('replaces', models.UUIDField(null=True)),
                    ('thread', models.UUIDField(null=True)),
                    ('resumed', models.PositiveIntegerField(db_default=0, default=0)),
                    ('parent_call', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='children', to='rooms.toolcall')),
                    ('round', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='runs', to='rooms.round')),
                    ('leads', models.BooleanField(db_default=False, default=False)),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        rooms.indexes.PartialIndex(condition=models.Q(('state', 'queued')), fields=['team', 'state', 'queued_at', 'id'], name='run_waiting'),
                        rooms.indexes.PartialIndex(condition=models.Q(('state', 'running')), fields=['state', 'team'], name='run_running'),
                        models.Index(fields=['room', 'ended_at'], name='run_of_room'),
                        models.Index(condition=models.Q(('stopped_by__isnull', False)), fields=['stopped_by'], name='run_stopped_by'),
                        models.Index(condition=models.Q(('origin__isnull', False)), fields=['origin'], name='run_of_chain'),
                        rooms.indexes.PartialIndex(condition=models.Q(('state__in', ['queued', 'running', 'waiting'])), fields=['room', 'state'], name='run_unended_in_room'),
                        models.Index(condition=models.Q(('round__isnull', False)), fields=['round'], name='run_of_round'),
                        models.Index(condition=models.Q(('parent_call__isnull', False)), fields=['parent_call'], name='run_of_call'),
                        rooms.indexes.PartialIndex(condition=models.Q(('state', 'waiting')), fields=['team', 'state'], name='run_waits'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='ModelRequest',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('number', models.PositiveSmallIntegerField()),
                    ('text', models.TextField(blank=True)),
                    ('input_tokens', models.PositiveIntegerField(null=True)),
                    ('output_tokens', models.PositiveIntegerField(null=True)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='requests', to='rooms.run')),
                ],
                options={
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(fields=('run', 'number'), name='model_request_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='Question',
                fields=[
                    ('call', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='question', serialize=False, to='rooms.toolcall')),
                    ('text', models.CharField(max_length=1000)),
                    ('choices', models.JSONField(default=list)),
                    ('asked_of', models.JSONField(default=list)),
                    ('state', models.CharField(choices=[('open', 'Open'), ('answered', 'Answered'), ('expired', 'Expired'), ('withdrawn', 'Withdrawn')], default='open', max_length=9)),
                    ('expires_at', models.DateTimeField()),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('room', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='rooms.room')),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        models.Index(condition=models.Q(('state', 'open')), fields=['expires_at'], name='question_open'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='QuestionAnswer',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('author_name', models.CharField(max_length=40)),
                    ('author_handle', models.CharField(max_length=40)),
                    ('text', models.CharField(max_length=2000)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('question', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='answers', to='rooms.question')),
                ],
                options={
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(fields=('question', 'user'), name='question_answer_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='RoomEvent',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('seq', models.PositiveBigIntegerField()),
                    ('type', models.CharField(max_length=32)),
                    ('payload', models.TextField()),
                    ('message', models.UUIDField(null=True)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('room', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='rooms.room')),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        models.Index(condition=models.Q(('message__isnull', False)), fields=['message'], name='room_event_of_message'),
                    ],
                    'constraints': [
                        models.UniqueConstraint(fields=('room', 'seq'), name='room_event_seq_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='RoomMember',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('role', models.CharField(choices=[('owner', 'Owner'), ('moderator', 'Moderator'), ('member', 'Member'), ('reader', 'Reader')], default='member', max_length=9, verbose_name='role')),
                    ('read_seq', models.PositiveBigIntegerField(default=0)),
                    ('joined_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('suspended', models.BooleanField(default=False, editable=False)),
                    ('room', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='members', to='rooms.room')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='room_memberships', to=settings.AUTH_USER_MODEL)),
                    ('read_count', models.PositiveBigIntegerField(db_default=0, default=0)),
                    ('welcome', models.BooleanField(db_default=False, default=False, editable=False)),
                    ('favourite', models.BooleanField(db_default=False, default=False, editable=False)),
                    ('muted', models.BooleanField(db_default=False, default=False, editable=False)),
                ],
                options={
                    'constraints': [
                        models.UniqueConstraint(fields=('room', 'user'), name='room_member_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='RoomPermission',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('content_object', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='rooms.room')),
                    ('permission', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='auth.permission')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
                ],
                options={
                    'abstract': False,
                    'unique_together': {('user', 'permission', 'content_object')},
                },
            ),
            migrations.CreateModel(
                name='RoomPersona',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('persona', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='bindings', to='agents.persona')),
                    ('room', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='bindings', to='rooms.room')),
                ],
                options={
                    'ordering': ('pk',),
                    'constraints': [
                        models.UniqueConstraint(fields=('room', 'persona'), name='room_persona_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='RoomSummary',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('up_to_seq', models.PositiveBigIntegerField()),
                    ('text', models.TextField(blank=True)),
                    ('state', models.CharField(choices=[('queued', 'Queued'), ('written', 'Written'), ('failed', 'Failed'), ('dropped', 'Dropped')], default='queued', max_length=7)),
                    ('model', models.CharField(blank=True, max_length=200)),
                    ('input_tokens', models.PositiveIntegerField(null=True)),
                    ('output_tokens', models.PositiveIntegerField(null=True)),
                    ('attempt', models.PositiveSmallIntegerField(default=0)),
                    ('lease_owner', models.CharField(blank=True, max_length=64)),
                    ('lease_until', models.DateTimeField(null=True)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('written_at', models.DateTimeField(null=True)),
                    ('persona', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='agents.persona')),
                    ('room', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='summaries', to='rooms.room')),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        models.Index(fields=['room', 'up_to_seq'], name='summary_of_room'),
                        models.Index(condition=models.Q(('state', 'queued')), fields=['created_at'], name='summary_queued'),
                    ],
                    'constraints': [
                        models.UniqueConstraint(condition=models.Q(('state', 'queued')), fields=('room',), name='summary_queued_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='RunPrompt',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('attempt', models.PositiveIntegerField()),
                    ('request', models.PositiveSmallIntegerField(default=0)),
                    ('content', models.BinaryField()),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='prompts', to='rooms.run')),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        models.Index(fields=['created_at'], name='run_prompt_by_age'),
                    ],
                    'constraints': [
                        models.UniqueConstraint(fields=('run', 'attempt'), name='run_prompt_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='Steer',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('author_name', models.CharField(max_length=40)),
                    ('author_handle', models.CharField(max_length=40)),
                    ('text', models.CharField(max_length=2000)),
                    ('state', models.CharField(choices=[('accepted', 'Accepted'), ('applied', 'Applied'), ('failed', 'Failed')], default='accepted', max_length=8)),
                    ('request', models.PositiveSmallIntegerField(null=True)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='steering', to='rooms.run')),
                    ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ],
                options={
                    'ordering': ('created_at', 'pk'),
                    'default_permissions': (),
                    'indexes': [
                        models.Index(fields=['run', 'state'], name='steer_of_run'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='TeamQuota',
                fields=[
                    ('team', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to='accounts.team', verbose_name='team')),
                    ('served_at', models.DateTimeField(editable=False, null=True, verbose_name='served')),
                    ('runs_per_user', models.PositiveIntegerField(blank=True, null=True, verbose_name='at once of one person')),
                    ('runs_per_room', models.PositiveIntegerField(blank=True, null=True, verbose_name='at once in one room')),
                    ('runs_per_team', models.PositiveIntegerField(blank=True, null=True, verbose_name='at once in the team')),
                    ('queued_per_user', models.PositiveIntegerField(blank=True, null=True, verbose_name='waiting of one person')),
                    ('queued_per_room', models.PositiveIntegerField(blank=True, null=True, verbose_name='waiting in one room')),
                    ('queued_per_team', models.PositiveIntegerField(blank=True, null=True, verbose_name='waiting in the team')),
                ],
                options={
                    'verbose_name': 'team quota',
                    'verbose_name_plural': 'team quotas',
                },
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
                    ('is_unread', models.BooleanField(db_default=False, default=False)),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        models.Index(fields=['room', 'user'], name='thread_follower_of_room'),
                        models.Index(condition=models.Q(('is_unread', True)), fields=['user', 'room'], name='thread_follower_unread'),
                    ],
                    'constraints': [
                        models.UniqueConstraint(fields=('root', 'user'), name='thread_follower_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='Vote',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('value', models.SmallIntegerField()),
                    ('note', models.CharField(blank=True, max_length=400)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('message', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='votes', to='rooms.message')),
                    ('persona', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='agents.persona')),
                    ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ],
                options={
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(fields=('message', 'user'), name='vote_once'),
                        models.CheckConstraint(condition=models.Q(('value__in', [1, -1])), name='vote_value'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='Worker',
                fields=[
                    ('name', models.CharField(max_length=64, primary_key=True, serialize=False, verbose_name='name')),
                    ('concurrency', models.PositiveIntegerField(verbose_name='answers at once')),
                    ('running', models.PositiveIntegerField(default=0, verbose_name='running')),
                    ('started_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name='started')),
                    ('seen_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name='seen')),
                ],
                options={
                    'verbose_name': 'worker',
                    'verbose_name_plural': 'workers',
                },
            ),
        ]),
        SetStorageParameters(
            fillfactors={'rooms_room': 50, 'rooms_roommember': 75, 'rooms_teamquota': 50, 'rooms_run': 80},
            large=['rooms_message', 'rooms_roomevent', 'rooms_run'],
        ),
    ]
