"""Which processes run answers: each shows itself now and then, and whoever watches looks."""

from datetime import timedelta
from typing import Final

from django.db.models.functions import Now

from rooms.models import Worker

SHOWN_SECONDS: Final = 5.0
FRESH: Final = timedelta(seconds=15)
KEPT: Final = timedelta(hours=1)


def show(name: str, concurrency: int, running: int) -> None:
    """Say that a worker lives and how many answers it is at; those long dead are forgotten."""
    shown = Worker.objects.filter(name=name).update(running=running, seen_at=Now())
    if not shown:
        Worker.objects.filter(seen_at__lt=Now() - KEPT).delete()
        Worker.objects.create(name=name, concurrency=concurrency, running=running)


def retire(name: str) -> None:
    """Forget a worker that ends in good order."""
    Worker.objects.filter(name=name).delete()


def any_alive() -> bool:
    """Return whether some worker has shown itself just now."""
    return Worker.objects.filter(seen_at__gt=Now() - FRESH).exists()
