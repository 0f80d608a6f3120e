"""Tells whoever runs answers to look at the queue now; only a hint, never the truth."""

import asyncio

from django.conf import settings
from django.db import connection, transaction

CHANNEL = "maru_runs"
STOPPED = "stopped"
"""What a notification says when a run that is being answered has ended; else one waits."""


class Bell:
    """Rings in this process: any thread may ring, the loop that hung it up hears."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung = asyncio.Event()
        self.stops = asyncio.Event()

    def hang(self) -> asyncio.Event:
        """Return the event that each ring sets, in the running loop."""
        self._loop, self._rung = asyncio.get_running_loop(), asyncio.Event()
        self.stops = asyncio.Event()
        return self._rung

    def take_down(self) -> None:
        self._loop = None

    def ring(self) -> None:
        """Set the event; nothing where no runner listens (a management command)."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._rung.set)

    def ring_for_stops(self) -> None:
        """Set `stops`, likewise: something that is being answered has ended."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.stops.set)


bell = Bell()


def wake() -> None:
    """Have the queue looked at once the current transaction has committed, and not if it does not.

    PostgreSQL holds a NOTIFY back until the commit, so there is nothing to lose in between.
    """
    transaction.on_commit(bell.ring)
    if not settings.EMBEDDED:
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")


def tell_stopped() -> None:
    """Have workers look, after the commit likewise, whether what they answer is still theirs."""
    transaction.on_commit(bell.ring_for_stops)
    if not settings.EMBEDDED:
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}, '{STOPPED}'")
