"""The tables of accounts, and the audit log that the database itself protects from changes."""

from typing import Any

import accounts.ids
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from accounts.database.operations import CreateModels

# A log that is added to, and nothing else: whatever goes wrong above, the database says no. With
# its team, the log of a team may go. `lock_end` waits for the lock in one statement and reads in
# the next: a statement sees what was there before it began to wait.
POSTGRESQL = """
CREATE FUNCTION accounts_audit_lock_end(team uuid)
RETURNS TABLE (number bigint, hash varchar) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('maru.audit:' || coalesce(team::text, ''), 0));
    IF team IS NULL THEN
        RETURN QUERY SELECT e.number, e.hash FROM accounts_auditentry e
            WHERE e.team_id IS NULL ORDER BY e.number DESC LIMIT 1;
    ELSE
        RETURN QUERY SELECT e.number, e.hash FROM accounts_auditentry e
            WHERE e.team_id = team ORDER BY e.number DESC LIMIT 1;
    END IF;
END $$;

CREATE FUNCTION accounts_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.team_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM accounts_team t WHERE t.id = OLD.team_id) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'The audit is only added to.' USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER accounts_audit_rows BEFORE UPDATE OR DELETE ON accounts_auditentry
    FOR EACH ROW EXECUTE FUNCTION accounts_audit_refuse();
CREATE TRIGGER accounts_audit_table BEFORE TRUNCATE ON accounts_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION accounts_audit_refuse();
"""
POSTGRESQL_BACK = """
DROP TRIGGER accounts_audit_rows ON accounts_auditentry;
DROP TRIGGER accounts_audit_table ON accounts_auditentry;
DROP FUNCTION accounts_audit_refuse();
DROP FUNCTION accounts_audit_lock_end(uuid);
"""
# SQLite knows no other way to empty a table than DELETE, which tests and `flush` do.
SQLITE = """
CREATE TRIGGER accounts_audit_rows BEFORE UPDATE ON accounts_auditentry
BEGIN SELECT RAISE(ABORT, 'The audit is only added to.'); END
"""
SQLITE_BACK = "DROP TRIGGER accounts_audit_rows"


def guard(apps: Any, schema_editor: Any) -> None:
    postgresql = schema_editor.connection.vendor == "postgresql"
    schema_editor.execute(POSTGRESQL if postgresql else SQLITE, params=None)


def unguard(apps: Any, schema_editor: Any) -> None:
    postgresql = schema_editor.connection.vendor == "postgresql"
    schema_editor.execute(POSTGRESQL_BACK if postgresql else SQLITE_BACK, params=None)


class Migration(migrations.Migration):

    replaces = [
        ('accounts', '0001_initial'),
        ('accounts', '0002_audit_is_kept'),
        ('accounts', '0003_accounts_by_invitation'),
        ('accounts', '0004_plain_colour_names'),
        ('accounts', '0005_team_handles'),
        ('accounts', '0006_search_members'),
        ('accounts', '0007_name_keys'),
    ]

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        CreateModels(state_operations=[
            migrations.CreateModel(
                name='Team',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('name', models.CharField(max_length=80, verbose_name='name')),
                    ('require_mfa', models.BooleanField(default=False, verbose_name='two-step sign-in for everybody')),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('deleted_at', models.DateTimeField(editable=False, null=True)),
                ],
                options={
                    'permissions': [('view', 'See the team'), ('join_room', 'Join open rooms'), ('create_room', 'Make rooms'), ('manage_people', 'Invite and remove people'), ('manage_agents', 'Configure personas and connections'), ('manage', 'Change the team itself')],
                    'default_permissions': (),
                },
            ),
            migrations.CreateModel(
                name='User',
                fields=[
                    ('password', models.CharField(max_length=128, verbose_name='password')),
                    ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                    ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('email', models.EmailField(max_length=254, unique=True, verbose_name='email')),
                    ('name', models.CharField(max_length=40, verbose_name='name')),
                    ('handle', models.CharField(max_length=40, unique=True, verbose_name='handle')),
                    ('wood', models.CharField(choices=[('pine', 'Cream'), ('zelkova', 'Tan'), ('paulownia', 'Grey'), ('persimmon', 'Brown')], default='pine', max_length=16, verbose_name='colour')),
                    ('is_active', models.BooleanField(default=True, verbose_name='active')),
                    ('is_staff', models.BooleanField(default=False, verbose_name='staff')),
                    ('date_joined', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='joined')),
                    ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                    ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
                ],
                options={
                    'constraints': [
                        models.UniqueConstraint(django.db.models.functions.text.Lower('email'), name='user_email_in_any_case'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='ApiToken',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('name', models.CharField(max_length=80, verbose_name='name')),
                    ('scopes', models.JSONField(default=list)),
                    ('hint', models.CharField(editable=False, max_length=8)),
                    ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('expires_at', models.DateTimeField(blank=True, null=True)),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tokens', to=settings.AUTH_USER_MODEL)),
                    ('team', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='accounts.team')),
                ],
                options={
                    'ordering': ('-created_at',),
                },
            ),
            migrations.CreateModel(
                name='AuditEntry',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('number', models.PositiveBigIntegerField()),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('token_hint', models.CharField(max_length=8)),
                    ('ip', models.CharField(max_length=45)),
                    ('action', models.CharField(max_length=120)),
                    ('target_kind', models.CharField(max_length=32)),
                    ('target_id', models.UUIDField(null=True)),
                    ('before', models.JSONField(default=dict)),
                    ('after', models.JSONField(default=dict)),
                    ('refused', models.BooleanField(default=False)),
                    ('prev_hash', models.CharField(max_length=64)),
                    ('hash', models.CharField(max_length=64)),
                    ('actor', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('team', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='accounts.team')),
                ],
                options={
                    'verbose_name': 'audit entry',
                    'verbose_name_plural': 'audit entries',
                    'ordering': ('-number',),
                    'indexes': [
                        models.Index(fields=['team', 'actor', 'number'], name='audit_by_actor'),
                        models.Index(fields=['team', 'action', 'number'], name='audit_by_action'),
                    ],
                    'constraints': [
                        models.UniqueConstraint(fields=('team', 'number'), name='audit_number_once'),
                        models.UniqueConstraint(condition=models.Q(('team', None)), fields=('number',), name='audit_number_once_alone'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='Invitation',
                fields=[
                    ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                    ('role', models.CharField(choices=[('owner', 'Owner'), ('admin', 'Admin'), ('member', 'Member'), ('guest', 'Guest')], default='member', max_length=8, verbose_name='role')),
                    ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('expires_at', models.DateTimeField()),
                    ('email', models.EmailField(blank=True, max_length=254, verbose_name='email')),
                    ('max_uses', models.PositiveIntegerField(default=1, verbose_name='how many people')),
                    ('uses', models.PositiveIntegerField(default=0, editable=False)),
                    ('revoked_at', models.DateTimeField(null=True)),
                    ('invited_by', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='invitations', to='accounts.team')),
                    ('accounts', models.PositiveIntegerField(default=0, editable=False)),
                ],
                options={
                    'ordering': ('-created_at',),
                },
            ),
            migrations.CreateModel(
                name='KeptAnswer',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('digest', models.CharField(max_length=64, unique=True)),
                    ('body_digest', models.CharField(max_length=64)),
                    ('status', models.PositiveSmallIntegerField(default=0)),
                    ('answer', models.BinaryField(default=bytes)),
                    ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ],
                options={
                    'default_permissions': (),
                    'indexes': [
                        models.Index(fields=['user', 'created_at'], name='kept_answer_age'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='SetupLink',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                    ('expires_at', models.DateTimeField()),
                    ('used_at', models.DateTimeField(null=True)),
                ],
            ),
            migrations.CreateModel(
                name='TeamHandle',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('handle', models.CharField(max_length=120)),
                    ('holder', models.UUIDField()),
                    ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='handles', to='accounts.team')),
                ],
                options={
                    'default_permissions': (),
                    'constraints': [
                        models.UniqueConstraint(fields=('team', 'handle'), name='team_handle_once'),
                        models.UniqueConstraint(fields=('team', 'holder'), name='team_handle_of_one_holder'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='TeamMember',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('role', models.CharField(choices=[('owner', 'Owner'), ('admin', 'Admin'), ('member', 'Member'), ('guest', 'Guest')], default='member', max_length=8, verbose_name='role')),
                    ('joined_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                    ('suspended_at', models.DateTimeField(editable=False, null=True)),
                    ('team', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='members', to='accounts.team')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to=settings.AUTH_USER_MODEL)),
                    ('name_key', models.CharField(db_default='', editable=False, max_length=120)),
                ],
                options={
                    'indexes': [
                        models.Index(fields=['team', 'name_key', 'id'], name='team_member_by_name'),
                        models.Index(fields=['team', 'role', 'name_key', 'id'], name='team_member_by_role'),
                    ],
                    'constraints': [
                        models.UniqueConstraint(fields=('team', 'user'), name='team_member_once'),
                    ],
                },
            ),
            migrations.CreateModel(
                name='TeamPermission',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('content_object', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='accounts.team')),
                    ('permission', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='auth.permission')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
                ],
                options={
                    'abstract': False,
                    'unique_together': {('user', 'permission', 'content_object')},
                },
            ),
        ]),
        migrations.RunPython(guard, unguard),
    ]
