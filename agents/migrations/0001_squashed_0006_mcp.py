"""The tables of personas, connections, tools and MCP servers."""

import accounts.ids
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from accounts.database.operations import CreateModels


class Migration(migrations.Migration):

    replaces = [
        ('agents', '0001_initial'),
        ('agents', '0002_plain_labels'),
        ('agents', '0003_handles_of_teams'),
        ('agents', '0004_handles_of_members'),
        ('agents', '0005_tools'),
        ('agents', '0006_mcp'),
    ]

    initial = True

    dependencies = [
        ('accounts', '0001_squashed_0007_name_keys'),
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        CreateModels(state_operations=[
            migrations.CreateModel(
                name='Connection',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('name', models.CharField(max_length=80, verbose_name='name')),
                    ('kind', models.CharField(choices=[('openai', 'OpenAI-compatible'), ('demo', 'Demo, no model')], max_length=8, verbose_name='kind')),
                    ('base_url', models.URLField(blank=True, max_length=400, verbose_name='base URL')),
                    ('key_encrypted', models.TextField(blank=True, editable=False)),
                    ('model_names', models.JSONField(default=list, verbose_name='models')),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='connections', to='accounts.team')),
                ],
                options={
                    'ordering': ('name', 'pk'),
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(models.F('team'), django.db.models.functions.text.Lower('name'), name='connection_name_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='McpServer',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('name', models.CharField(max_length=80, verbose_name='name')),
                    ('prefix', models.CharField(max_length=24)),
                    ('url', models.URLField(max_length=400, verbose_name='URL')),
                    ('auth', models.CharField(choices=[('none', 'None, or headers'), ('bearer', 'Bearer token'), ('oauth', 'Sign-in (OAuth)')], default='none', max_length=6, verbose_name='sign-in')),
                    ('personal', models.BooleanField(default=False, verbose_name='each person signs in')),
                    ('headers_encrypted', models.TextField(blank=True, editable=False)),
                    ('oauth', models.JSONField(default=dict, editable=False)),
                    ('enabled', models.BooleanField(default=True, verbose_name='enabled')),
                    ('checked_at', models.DateTimeField(editable=False, null=True)),
                    ('problem', models.CharField(blank=True, editable=False, max_length=32)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='mcp_servers', to='accounts.team')),
                ],
                options={
                    'ordering': ('name', 'pk'),
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(models.F('team'), django.db.models.functions.text.Lower('name'), name='mcp_server_name_once'),
                        models.UniqueConstraint(fields=('team', 'prefix'), name='mcp_server_prefix_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='McpSignIn',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('tokens_encrypted', models.TextField(editable=False)),
                    ('expires_at', models.DateTimeField(null=True)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('server', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='sign_ins', to='agents.mcpserver')),
                    ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('refreshing_until', models.DateTimeField(null=True)),
                ],
                options={
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(fields=('server', 'user'), name='mcp_sign_in_once', nulls_distinct=False),
                    ],
                },
            ),
            migrations.CreateModel(
                name='Persona',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('name', models.CharField(max_length=40, verbose_name='name')),
                    ('handle', models.CharField(max_length=40, verbose_name='handle')),
                    ('role', models.CharField(max_length=80, verbose_name='role')),
                    ('goal', models.CharField(max_length=400, verbose_name='goal')),
                    ('backstory', models.TextField(blank=True, max_length=2000, verbose_name='backstory')),
                    ('instructions', models.TextField(blank=True, max_length=8000, verbose_name='instructions')),
                    ('model', models.CharField(max_length=200, verbose_name='model')),
                    ('temperature', models.FloatField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(2)], verbose_name='temperature')),
                    ('max_output_tokens', models.PositiveIntegerField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(200000)], verbose_name='maximum length of an answer, in tokens')),
                    ('pigment', models.CharField(choices=[('noerok', 'Green'), ('seokganju', 'Red ochre'), ('chija', 'Yellow'), ('jaju', 'Purple'), ('cheonghoe', 'Blue grey'), ('meok', 'Black')], default='noerok', max_length=16, verbose_name='colour')),
                    ('lattice', models.CharField(choices=[('ttisal', 'Bands'), ('gyeoksal', 'Grid'), ('bitsal', 'Slanted'), ('wanja', 'Meander'), ('yukmo', 'Hexagon'), ('kkotsal', 'Flower')], default='gyeoksal', max_length=16, verbose_name='pattern')),
                    ('enabled', models.BooleanField(default=True, verbose_name='answers')),
                    ('confined', models.BooleanField(default=False, editable=False, verbose_name='only in some rooms')),
                    ('version', models.PositiveIntegerField(default=1, editable=False)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('connection', models.ForeignKey(on_delete=django.db.models.deletion.RESTRICT, related_name='personas', to='agents.connection', verbose_name='connection')),
                    ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='personas', to='accounts.team')),
                ],
                options={
                    'ordering': ('name', 'pk'),
                    'permissions': [('use', 'Ask the persona and take it into rooms'), ('edit', 'See and change how it answers'), ('manage', 'Give it another model, switch it off, delete it'), ('share', 'Say who may do what with it')],
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(models.F('team'), django.db.models.functions.text.Lower('handle'), name='persona_handle_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='PersonaGrant',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('role', models.CharField(blank=True, max_length=8)),
                    ('content_object', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='grants', to='agents.persona')),
                    ('permission', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='auth.permission')),
                    ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
                ],
                options={
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(fields=('content_object', 'user', 'role', 'permission'), name='persona_grant_once', nulls_distinct=False),
                    ],
                },
            ),
            migrations.CreateModel(
                name='PersonaTool',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('tool', models.UUIDField()),
                    ('policy', models.CharField(choices=[('always', 'Always'), ('ask', 'Ask'), ('never', 'Never')], max_length=6)),
                    ('deciders', models.CharField(choices=[('asker', 'The person who asked, or a moderator'), ('moderators', 'A moderator')], default='asker', max_length=10)),
                    ('persona', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tool_policies', to='agents.persona')),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        models.Index(fields=['tool'], name='persona_tool_of_tool'),
                    ],
                    'constraints': [
                        models.UniqueConstraint(fields=('persona', 'tool'), name='persona_tool_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='PersonaVersion',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('number', models.PositiveIntegerField()),
                    ('fields', models.JSONField()),
                    ('changed', models.JSONField(default=list)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('persona', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='versions', to='agents.persona')),
                ],
                options={
                    'ordering': ('-number',),
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(fields=('persona', 'number'), name='persona_version_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='Tool',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('key', models.CharField(max_length=200)),
                    ('name', models.CharField(max_length=64)),
                    ('title', models.CharField(max_length=80)),
                    ('description', models.TextField(blank=True)),
                    ('parameters', models.JSONField(default=dict)),
                    ('reach', models.CharField(choices=[('room', 'This room'), ('team', 'This team'), ('internet', 'The internet')], default='internet', max_length=8)),
                    ('changes', models.BooleanField(default=True)),
                    ('idempotent', models.BooleanField(default=False)),
                    ('sha256', models.CharField(max_length=64)),
                    ('approved_sha256', models.CharField(blank=True, max_length=64)),
                    ('listed', models.BooleanField(default=True)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('server', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='tools', to='agents.mcpserver')),
                    ('team', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='tools', to='accounts.team')),
                    ('claims', models.JSONField(db_default={}, default=dict)),
                ],
                options={
                    'ordering': ('name', 'pk'),
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(fields=('server', 'key'), name='tool_key_once', nulls_distinct=False),
                    ],
                },
            ),
        ]),
    ]
