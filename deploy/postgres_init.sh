#!/bin/sh
# Creates the role and the database of Maru in an empty PostgreSQL. The postgres image runs it once, as its superuser.
# The role owns its database, and can neither create roles or databases nor read files of the server.
set -eu

psql --username="${POSTGRES_USER:-postgres}" --dbname=postgres --set=ON_ERROR_STOP=1 --quiet \
    --set=password="$MARU_DATABASE_PASSWORD" <<'SQL'
CREATE ROLE maru LOGIN PASSWORD :'password'
    NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
CREATE DATABASE maru OWNER maru;
SQL
