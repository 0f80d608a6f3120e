"""Verifies the hash chains of the audit log: `manage.py audit verify`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.audit.log import verify_chains


class Command(BaseCommand):
    help = (
        "Verify the hash chain of each team's audit log and of the installation (-). "
        "Store the output: entries that are cut off at the end can be detected only with it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["verify"])

    def handle(self, *args: Any, **options: Any) -> None:
        broken = 0
        for chain in verify_chains():
            line = f"{chain.team_id or '-'} {chain.number} {chain.hash}"
            if chain.broken_at is not None:
                line += f" BROKEN at {chain.broken_at}"
                broken += 1
            self.stdout.write(line)
        if broken:
            raise CommandError(f"{broken} of the chains were changed after they were written.")
