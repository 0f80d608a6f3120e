"""Takes away for ever what was deleted and may not be restored any more; to be run daily."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.api.idempotency import purge_answers
from accounts.services import purge_teams
from rooms.services import purge_rooms


class Command(BaseCommand):
    help = (
        "Take away teams deleted more than 7 days ago, what is left of deleted rooms, and answers "
        "that were kept for an Idempotency-Key for a day."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        teams, rooms, answers = purge_teams(), purge_rooms(), purge_answers()
        self.stdout.write(f"{teams} teams, {rooms} rooms and {answers} kept answers are gone.")
