"""A thread for database work keeps its connection, and notices when it is of no use any more."""

import json
import subprocess
import sys
from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.cluster.services import Postgres, Redis
from tests.live import ROOT


def test_thread_keeps_its_connection_and_notices_that_the_other_end_has_gone(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    cluster = Cluster(tmp_path, postgres, redis, webs=1, workers=0)

    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.keeping"],
        cwd=ROOT,
        env={**cluster.webs[0].env, "DJANGO_SETTINGS_MODULE": "maru.settings"},
        stdout=subprocess.PIPE,
        check=True,
    )

    first, second, after_failure, after_end, after_rest = json.loads(done.stdout)
    assert first == second == after_failure
    assert len({first, after_end, after_rest}) == 3
