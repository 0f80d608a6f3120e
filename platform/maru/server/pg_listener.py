"""Listens for PostgreSQL notifications in a worker, so that queued runs wake it at once."""

import asyncio
from typing import Final

import psycopg
import structlog
from django.conf import settings
from psycopg.conninfo import make_conninfo

from rooms.runs.notifications import CHANNEL, STEERED, STOPPED, wakeup

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 1.0
# Nothing is sent on this connection, so TCP keepalive must detect a dead peer.
OPTIONS: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}


async def listen() -> None:
    """Wake the runner at each notification until cancelled; reconnect after a lost connection.

    The connection is direct and dedicated: a pooler in transaction mode does not deliver
    notifications to its clients. While there is no connection, the runner polls.
    """
    while True:
        try:
            await _listen_once()
        except psycopg.Error as error:
            log.warning("listening.interrupted", error=type(error).__name__)
        await asyncio.sleep(RETRY_SECONDS)


async def _listen_once() -> None:
    """Execute LISTEN, then wake the runner once: earlier runs caused no notification here."""
    address = make_conninfo(settings.DATABASE_URL, **OPTIONS)
    async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        wakeup.notify()
        wakeup.notify_stopped()
        async for notice in connection.notifies():
            if notice.payload == STOPPED:
                wakeup.notify_stopped()
            elif notice.payload == STEERED:
                wakeup.notify_steered()
            else:
                wakeup.notify()
