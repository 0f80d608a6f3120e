"""Notifies workers of runs that were queued or ended; workers also poll for lost notifications.

In the embedded profile the runner is in the same process. Otherwise PostgreSQL's NOTIFY carries the
notification to the workers, where `maru.server.pg_listener` receives it.
"""

import asyncio
from contextlib import suppress
from typing import Final

from django.conf import settings
from django.db import connection, transaction

CHANNEL: Final = "maru_runs"
STOPPED: Final = "stopped"
"""The payload of a notification that a running run has ended; it is empty for a queued run."""
STEERED: Final = "steered"
"""The payload of a notification that a member has steered an answer."""


class Wakeup:
    """The events that wake the runner of this process. Any thread may notify them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self.queued = asyncio.Event()
        self.stopped = asyncio.Event()
        self.steered = 0
        """The number of steering lines of which this process was notified."""

    def attach(self) -> None:
        """Bind new events to the running loop; they are set by each notification from now on."""
        self._loop = asyncio.get_running_loop()
        self.queued, self.stopped = asyncio.Event(), asyncio.Event()

    def detach(self) -> None:
        """Ignore notifications from now on."""
        self._loop = None

    def notify(self) -> None:
        """Set `queued`; a no-op in a process without a runner, such as a management command."""
        self._set(self.queued)

    def notify_stopped(self) -> None:
        """Set `stopped`; a no-op in a process without a runner."""
        self._set(self.stopped)

    def notify_steered(self) -> None:
        """Count a steering line."""
        self.steered += 1

    def _set(self, event: asyncio.Event) -> None:
        loop = self._loop  # read once: `detach` may run in its thread between two reads
        if loop is not None:
            # RuntimeError: the loop was closed. The worker that runs next polls the queue.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)


wakeup = Wakeup()


def notify_queued() -> None:
    """Notify the workers that a run is queued, once the current transaction has committed.

    PostgreSQL delivers a NOTIFY at the commit of its transaction, and never if it rolls back.
    """
    transaction.on_commit(wakeup.notify)
    if not settings.EMBEDDED:
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")


def notify_stopped() -> None:
    """Notify the workers, once the transaction has committed, that a running run has ended.

    Each worker then renews its leases and cancels the answers whose lease it has lost.
    """
    transaction.on_commit(wakeup.notify_stopped)
    if not settings.EMBEDDED:
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}, '{STOPPED}'")


def notify_steered() -> None:
    """Notify the workers, once the transaction has committed, of a steering line.

    An answer without tools asks the database for lines at its end only after a notification. A line
    whose notification is lost or late keeps the run from completing (`lifecycle.complete`).
    """
    transaction.on_commit(wakeup.notify_steered)
    if not settings.EMBEDDED:
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}, '{STEERED}'")
