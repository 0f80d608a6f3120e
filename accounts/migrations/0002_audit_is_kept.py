"""The audit is only added to: the database itself holds it so."""

from typing import Any

from django.db import migrations

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

    dependencies = [
        ('accounts', '0001_initial'),
    ]

    operations = [
        migrations.RunPython(guard, unguard),
    ]
