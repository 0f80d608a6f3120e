"""Re-encrypts stored provider keys and second factors with a new MARU_SECRET_KEY."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.login.adapters import reencrypt_mfa_secrets
from agents.services import find_unreadable_keys, rotate_keys
from maru.config import database


class Command(BaseCommand):
    help = "Re-encrypt stored keys with MARU_SECRET_KEY. Fails if a key cannot be read."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; check that every key can be read"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        database.prepare()
        if not options["check"]:
            self.stdout.write(f"Encrypted under MARU_SECRET_KEY: {rotate_keys()} keys.")
            if lost := reencrypt_mfa_secrets():
                self.stdout.write(f"Second factors that cannot be read: {lost}.")
        if unreadable := find_unreadable_keys():
            names = "\n".join(f"  connection {pk}" for pk in unreadable)
            raise CommandError(
                f"These keys cannot be read:\n{names}\n"
                "Add the secret key that encrypted them to MARU_SECRET_KEY_FALLBACKS, "
                "or enter the keys again."
            )
        self.stdout.write("Every stored key can be read.")
