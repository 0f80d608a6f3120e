"""A database thread reuses its connection and replaces it when it is broken."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest
from psycopg_pool import ConnectionPool, PoolTimeout
from pydantic import SecretStr

from maru.config import backends
from maru.config.env import Env
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres, Redis
from tests.deadlines import scaled
from tests.live import ROOT


def test_thread_reuses_its_connection_and_replaces_it_after_its_backend_has_ended(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    cluster = Cluster(tmp_path, postgres, redis, webs=1, workers=0)

    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.stores.connection_reuse"],
        cwd=ROOT,
        env={**cluster.webs[0].env, "DJANGO_SETTINGS_MODULE": "maru.settings"},
        stdout=subprocess.PIPE,
        check=True,
    )

    first, second, after_failure, after_end, after_silent_end = json.loads(done.stdout)
    assert first == second == after_failure
    assert len({first, after_end, after_silent_end}) == 3


def test_pool_reconnects_at_once_after_a_long_outage_of_postgresql(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "psycopg.pool")  # it would log the outage
    env = Env.model_construct(database_url=SecretStr(postgres.url))
    options = backends.database(env)["OPTIONS"]["pool"]
    with ConnectionPool(postgres.url, check=ConnectionPool.check_connection, **options) as pool:
        pool.wait()
        postgres.stop()
        with pytest.raises(PoolTimeout), pool.connection(timeout=0.5):
            pass
        # With the pool's default back-off the next attempt would be 16 s away after this time.
        time.sleep(16)
        postgres.start()

        with pool.connection(timeout=min(scaled(8), 15)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
