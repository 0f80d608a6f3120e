"""A thread for database work keeps its connection, and notices when it is of no use any more."""

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
from tests.live import ROOT


def test_thread_keeps_its_connection_and_notices_that_the_other_end_has_gone(
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

    first, second, after_failure, after_end, after_rest = json.loads(done.stdout)
    assert first == second == after_failure
    assert len({first, after_end, after_rest}) == 3


def test_pool_is_back_at_once_when_postgresql_is_after_a_while(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "psycopg.pool")  # it says what the test does
    env = Env.model_construct(database_url=SecretStr(postgres.url))
    options = backends.database(env)["OPTIONS"]["pool"]
    with ConnectionPool(postgres.url, check=ConnectionPool.check_connection, **options) as pool:
        pool.wait()
        postgres.stop()
        with pytest.raises(PoolTimeout), pool.connection(timeout=0.5):
            pass
        time.sleep(16)  # so long that its next attempt would be as far away again
        postgres.start()

        with pool.connection(timeout=8) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
