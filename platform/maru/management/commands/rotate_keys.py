"""Re-encrypts stored provider keys and second factors with a new MARU_SECRET_KEY."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.login.mfa_secrets import find_unreadable_factors, rotate_factors
from agents.services import find_unreadable_keys, rotate_keys
from maru.config import database


class Command(BaseCommand):
    help = "Re-encrypt stored secrets with MARU_SECRET_KEY. Fails if one cannot be read."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; check that every key can be read"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        database.prepare()
        if not options["check"]:
            keys, factors = rotate_keys(), rotate_factors()
            self.stdout.write(f"Encrypted under MARU_SECRET_KEY: {keys} keys.")
            self.stdout.write(f"Encrypted under MARU_SECRET_KEY: {factors} second factors.")
        unreadable = [
            *(f"  connection or MCP server {pk}" for pk in find_unreadable_keys()),
            *(f"  second factor {pk}" for pk in find_unreadable_factors()),
        ]
        if unreadable:
            names = "\n".join(unreadable)
            raise CommandError(
                f"These keys cannot be read:\n{names}\n"
                "Add the secret key that encrypted them to MARU_SECRET_KEY_FALLBACKS, "
                "or enter the keys again and let their owners set up two-step sign-in again."
            )
        self.stdout.write("Every stored key can be read.")
