-- Creates a role for the processes that can read and write but owns nothing. The role can change neither the
-- audit log nor its triggers. Run with psql as the owner of the tables, after `migrate`:
--   psql --username=maru --dbname=maru --set=password=… < app_role.sql
-- This script can be run again at any time; RUNBOOK.md describes when that is necessary.

\set ON_ERROR_STOP on

SELECT 'CREATE ROLE maru_app' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'maru_app')
\gexec
ALTER ROLE maru_app LOGIN PASSWORD :'password'
    NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;

BEGIN;

REVOKE CREATE ON SCHEMA public FROM PUBLIC, maru_app;
GRANT USAGE ON SCHEMA public TO maru_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO maru_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO maru_app;
-- The same rights for the tables and sequences of later migrations.
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO maru_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO maru_app;

REVOKE UPDATE, DELETE ON accounts_auditentry FROM maru_app;
REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM maru_app;

COMMIT;
