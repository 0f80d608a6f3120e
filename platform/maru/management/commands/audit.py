"""Proves that nobody has changed the audit: `manage.py audit verify`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.audit.log import verify


class Command(BaseCommand):
    help = (
        "Follow the chain of each team's audit, and that of the installation (-). "
        "Keep what is printed: an end that is missing later shows in nothing else."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["verify"])

    def handle(self, *args: Any, **options: Any) -> None:
        broken = 0
        for verdict in verify():
            line = f"{verdict.team_id or '-'} {verdict.number} {verdict.hash}"
            if verdict.broken_at is not None:
                line += f" BROKEN at {verdict.broken_at}"
                broken += 1
            self.stdout.write(line)
        if broken:
            raise CommandError(f"Not as they were written: {broken} of the chains.")
