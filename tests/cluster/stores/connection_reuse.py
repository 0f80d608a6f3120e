"""Which connection a database thread uses: `python -m tests.cluster.stores.connection_reuse`.

Runs five jobs in one thread and prints as JSON the PostgreSQL backend that backends each: two jobs
without a disturbance, one after a failed statement, one after that backend was ended, and one after
the next backend was ended without the socket showing it.
"""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import django
import psycopg

django.setup()

from django.conf import settings  # noqa: E402  # all of these need django.setup()
from django.db import DatabaseError, connection  # noqa: E402

from rooms import executors  # noqa: E402
from rooms.executors import in_thread  # noqa: E402
from tests.live import until  # noqa: E402


async def main() -> None:
    """Run the jobs, disturb the connection in between, and print the backends."""
    pool = ThreadPoolExecutor(max_workers=1)
    backends = [await in_thread(pool, _backend), await in_thread(pool, _backend)]
    await in_thread(pool, _fail)
    backends.append(await in_thread(pool, _backend))
    _end(backends[-1])
    backends.append(await in_thread(pool, _backend))
    executors.IDLE_SECONDS = 0  # type: ignore[misc]  # Final in the product; avoids a long wait
    executors._has_unread_data = lambda postgres: False  # as after a network failure without a FIN
    _end(backends[-1])
    backends.append(await in_thread(pool, _backend))
    print(json.dumps(backends))


def _backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _fail() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing")
    except DatabaseError:
        return


def _end(backend: int) -> None:
    """End a PostgreSQL backend and wait until it is gone."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [backend])
        left = "SELECT FROM pg_stat_activity WHERE pid = %s"
        until(lambda: not other.execute(left, [backend]).fetchall())


if __name__ == "__main__":
    asyncio.run(main())
