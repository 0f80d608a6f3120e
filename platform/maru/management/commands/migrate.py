"""Django's `migrate`, which ends with one sentence if the database cannot be used."""

from typing import Any

from django.conf import settings
from django.core.management.commands import migrate

from maru.config import database, postgres


class Command(migrate.Command):
    """The connection has no limit for idle transactions, unlike those of serving processes."""

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.EMBEDDED:
            postgres.check_reachable()
        database.check_not_too_old()
        super().handle(*args, **options)
