-- Creates the role maru_app for the processes: it reads and writes the tables but owns nothing, and can change
-- neither the audit log nor its triggers. Run it after `migrate`, in the database of Maru:
--   psql --username=postgres --dbname=maru --set=password=… < app_role.sql
-- It must be run by a superuser, or by a role that has CREATEROLE and is the owner of the tables or a member of it.
-- If maru_app exists already, the owner alone is enough: it then keeps its password.
-- This script can be run again at any time; RUNBOOK.md describes when that is necessary.

\set ON_ERROR_STOP on

DO $$
DECLARE
    owner name := (SELECT tableowner FROM pg_tables
                   WHERE schemaname = 'public' AND tablename = 'django_migrations');
    may_create boolean := (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user);
BEGIN
    IF owner IS NULL THEN
        RAISE EXCEPTION 'The database "%" has no tables of Maru. Name the right database, or run `migrate` first.',
            current_database();
    END IF;
    IF owner = 'maru_app' THEN
        RAISE EXCEPTION 'The tables belong to maru_app itself. They need another owner, which runs `migrate`.';
    END IF;
    IF NOT pg_has_role(owner, 'MEMBER') THEN
        RAISE EXCEPTION 'The role "%" does not own the tables. Run this script as "%" or as a superuser.',
            current_user, owner;
    END IF;
    IF NOT may_create AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'maru_app') THEN
        RAISE EXCEPTION 'The role "%" may not create roles. Run this script as a superuser, or let one run '
            '"CREATE ROLE maru_app LOGIN PASSWORD ''…''" before.', current_user;
    END IF;
END $$;

SELECT tableowner AS owner,
       (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) AS may_create
FROM pg_tables WHERE schemaname = 'public' AND tablename = 'django_migrations'
\gset

\if :may_create
SELECT 'CREATE ROLE maru_app' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'maru_app')
\gexec
ALTER ROLE maru_app LOGIN PASSWORD :'password';
\else
\echo 'maru_app keeps its password: only a superuser or a role with CREATEROLE may change it.'
\endif

BEGIN;

REVOKE CREATE ON SCHEMA public FROM PUBLIC, maru_app;
GRANT USAGE ON SCHEMA public TO maru_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO maru_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO maru_app;
-- The same rights for the tables and sequences of later migrations. Default privileges belong to the role that
-- creates a table: without FOR ROLE they would belong to the superuser that runs this script.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO maru_app;
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO maru_app;

REVOKE UPDATE, DELETE ON accounts_auditentry FROM maru_app;
REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM maru_app;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'maru_app' AND (
            rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)) THEN
        RAISE EXCEPTION 'maru_app has attributes that allow more than reading and writing. A superuser must run '
            '"ALTER ROLE maru_app NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS".';
    END IF;
    IF EXISTS (SELECT FROM pg_auth_members WHERE member = 'maru_app'::regrole) THEN
        RAISE EXCEPTION 'maru_app is a member of another role. Revoke that membership, then run this script again.';
    END IF;
    IF has_schema_privilege('maru_app', 'public', 'CREATE') THEN
        RAISE EXCEPTION 'maru_app can still create tables. The owner of the schema public must run '
            '"REVOKE CREATE ON SCHEMA public FROM PUBLIC".';
    END IF;
    IF has_table_privilege('maru_app', 'accounts_auditentry', 'UPDATE, DELETE, TRUNCATE, TRIGGER') THEN
        RAISE EXCEPTION 'maru_app can still change the audit log: a right was granted to PUBLIC. Revoke it.';
    END IF;
END $$;

COMMIT;
