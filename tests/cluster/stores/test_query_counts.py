"""Tests of queries on PostgreSQL, where locks are queries and values have other types."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

from tests.cluster.harness.services import Postgres, Redis

TEST_FILES = (
    "tests/rooms/test_query_counts.py",
    "tests/rooms/test_permissions.py",
    "tests/rooms/runs/test_claims.py",
    "tests/rooms/socket/test_authentication.py",
    "tests/accounts/database/test_prepared_queries.py",
)


def test_query_counts_of_sqlite_hold_on_postgresql(
    root: Path, postgres: Postgres, redis: Redis
) -> None:
    # A test holds a transaction open for as long as it runs, which may take long.
    no_timeout = urlencode({"options": "-c idle_in_transaction_session_timeout=0"}, quote_via=quote)
    stores = {"MARU_DATABASE_URL": f"{postgres.url}?{no_timeout}", "MARU_REDIS_URL": redis.url}
    plugins = [
        "-o",
        "addopts=",
        "-p",
        "tests.cluster.stores.postgres_environment",
        "-p",
        "no:cacheprovider",
    ]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *TEST_FILES],
        cwd=root,
        env={**os.environ, **stores},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
