"""What a thread for database work keeps: `python -m tests.cluster.stores.connection_reuse`.

Prints as JSON which of PostgreSQL's processes served each piece of work, one after the other, in
one thread: two pieces undisturbed, one after a statement that failed, one after that process was
ended, and one after a rest in which the next has ended without a word.
"""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import django
import psycopg

django.setup()

from django.conf import settings  # noqa: E402  # as all that follows: it wants a set-up Django
from django.db import DatabaseError, connection  # noqa: E402

from rooms import executors  # noqa: E402
from rooms.executors import in_thread  # noqa: E402
from tests.live import until  # noqa: E402


async def main() -> None:
    """Work in one thread, break its connection in between, and print who served it."""
    pool = ThreadPoolExecutor(max_workers=1)
    served = [await in_thread(pool, _server), await in_thread(pool, _server)]
    await in_thread(pool, _fail)
    served.append(await in_thread(pool, _server))
    _end(served[-1])
    served.append(await in_thread(pool, _server))
    executors.IDLE_SECONDS = 0  # type: ignore[misc]  # or the rest would take as long as it says
    executors._has_unread_data = lambda postgres: False  # as where a network has gone
    _end(served[-1])
    served.append(await in_thread(pool, _server))
    print(json.dumps(served))


def _server() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _fail() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing")
    except DatabaseError:
        return


def _end(server: int) -> None:
    """End one of PostgreSQL's processes, and wait until it has gone."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [server])
        left = "SELECT FROM pg_stat_activity WHERE pid = %s"
        until(lambda: not other.execute(left, [server]).fetchall())


if __name__ == "__main__":
    asyncio.run(main())
