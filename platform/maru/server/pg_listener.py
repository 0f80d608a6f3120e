"""Hears, in an agents worker, that another process has put something into the queue."""

import asyncio
from typing import Final

import psycopg
import structlog
from django.conf import settings
from psycopg.conninfo import make_conninfo

from rooms.runs.notifications import CHANNEL, STOPPED, bell

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 1.0
# A connection that nothing is sent on must notice by itself that the other end is gone.
OPTIONS: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}


async def listen() -> None:
    """Ring the bell at each notification, until cancelled; a lost connection is made anew.

    The connection is direct and of its own: a pool that shares connections between transactions
    would keep what is heard to itself. While there is none, the runner's own look comes late, but
    it comes.
    """
    while True:
        try:
            await _hear()
        except psycopg.Error as error:
            log.warning("listening.interrupted", error=type(error).__name__)
        await asyncio.sleep(RETRY_SECONDS)


async def _hear() -> None:
    """Listen first, look second: what was queued while nobody listened has rung for nobody."""
    address = make_conninfo(settings.DATABASE_URL, **OPTIONS)
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        bell.ring()
        bell.ring_for_stops()
        async for notice in connection.notifies():
            if notice.payload == STOPPED:
                bell.ring_for_stops()
            else:
                bell.ring()
