"""Takes away for ever what was deleted and may not be restored any more; to be run daily."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.services import purge_teams
from rooms.services import purge_rooms


class Command(BaseCommand):
    help = "Take away teams deleted more than 7 days ago, and what is left of deleted rooms."

    def handle(self, *args: Any, **options: Any) -> None:
        teams, rooms = purge_teams(), purge_rooms()
        self.stdout.write(f"{teams} teams and {rooms} rooms are gone.")
