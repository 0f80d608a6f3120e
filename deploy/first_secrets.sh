#!/bin/sh
# Creates the secrets of a new installation, once: maru.env and postgres.env in the folder of this file.
#   sh deploy/first_secrets.sh chat.example.com
set -eu

host=${1:?"Give the public host name: sh deploy/first_secrets.sh chat.example.com"}
cd "$(dirname "$0")"
for file in maru.env postgres.env; do
    if [ -e "$file" ]; then
        echo "deploy/$file exists already. Nothing was changed." >&2
        exit 1
    fi
done

umask 077
password=$(openssl rand -hex 32)
cat > postgres.env <<EOF
# The superuser of PostgreSQL, for backups and administration. No process of Maru uses it.
POSTGRES_USER=postgres
POSTGRES_PASSWORD=$(openssl rand -hex 32)
# The role of Maru, which postgres_init.sh creates.
MARU_DATABASE_PASSWORD=$password
EOF
cat > maru.env <<EOF
# .env.example lists every other setting.
MARU_PUBLIC_URL=https://$host
MARU_DATABASE_URL=postgresql://maru:$password@postgres/maru
MARU_REDIS_URL=redis://redis:6379/0
MARU_SECRET_KEY=$(openssl rand -hex 32)
EOF
