"""Erases deleted data that can no longer be restored, and all that has expired; run it daily."""

from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from maru.server.purging import purge

KINDS: Final = {
    *("owners", "teams", "rooms", "prompts", "summaries", "responses"),
    "credentials",
}


class Command(BaseCommand):
    help = (
        "Erase teams deleted more than 7 days ago, the rest of deleted rooms, responses stored for "
        "an Idempotency-Key for more than a day, and expired sessions, tokens and invitations."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        deleted = purge(teams=True)
        failed = KINDS - deleted.keys()
        if failed:
            raise CommandError(
                f"Not erased: {', '.join(sorted(failed))}. The log above says why. Run this again."
            )
        self.stdout.write(
            "Erased {teams} teams, {rooms} rooms, {responses} stored responses and {credentials} "
            "expired credentials.".format(**deleted)
        )
