"""The worker processes: each reports its load to the database, and `/readyz` reads the reports."""

from datetime import timedelta
from typing import Final

from django.db.models.functions import Now

from rooms.models import Worker

REPORT_SECONDS: Final = 5.0
ALIVE_WITHIN: Final = timedelta(seconds=15)
KEPT: Final = timedelta(hours=1)


def report(name: str, concurrency: int, running: int) -> int:
    """Record that a worker is alive, and the number of its runs; return the number of workers.

    The first report of a worker deletes the workers that have not reported for KEPT.
    """
    updated = Worker.objects.filter(name=name).update(running=running, seen_at=Now())
    if not updated:
        Worker.objects.filter(seen_at__lt=Now() - KEPT).delete()
        Worker.objects.create(name=name, concurrency=concurrency, running=running)
    return count_alive()


def remove(name: str) -> None:
    """Delete a worker that shuts down normally."""
    Worker.objects.filter(name=name).delete()


def count_alive() -> int:
    """Return the number of workers that have reported within ALIVE_WITHIN."""
    return Worker.objects.filter(seen_at__gt=Now() - ALIVE_WITHIN).count()


def any_alive() -> bool:
    """Return True if a worker has reported within ALIVE_WITHIN."""
    return Worker.objects.filter(seen_at__gt=Now() - ALIVE_WITHIN).exists()
