"""Erases deleted data that can no longer be restored, and expired responses; run it daily."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.api.idempotency import purge_responses
from accounts.services import purge_teams
from rooms.services import purge_rooms


class Command(BaseCommand):
    help = (
        "Erase teams deleted more than 7 days ago, the rest of deleted rooms, and responses "
        "stored for an Idempotency-Key for more than a day."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        teams, rooms, answers = purge_teams(), purge_rooms(), purge_responses()
        self.stdout.write(f"Erased {teams} teams, {rooms} rooms and {answers} stored responses.")
