"""Sets up an empty installation without a browser."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts.models import User
from accounts.scopes import SCOPES
from accounts.services import create_setup_link, create_token
from maru.config import database
from maru.management.command_errors import refusals_as_command_errors
from maru.web.setup import create_first_account


class Command(BaseCommand):
    help = "Create the first account, its team and its first room. Fails if an account exists."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", required=True, metavar="E")
        parser.add_argument("--team", required=True, metavar="T", help="name of the team")
        parser.add_argument("--name", metavar="N", help="name of the person", default="Owner")
        parser.add_argument(
            "--password-file",
            type=Path,
            metavar="F",
            help="without this option, the owner sets a password by a reset mail",
        )
        parser.add_argument("--print-token", action="store_true", help="print only an API token")

    def handle(self, *args: Any, **options: Any) -> None:
        password = _password(options["password_file"])
        database.prepare()
        with refusals_as_command_errors():
            user, secret = _set_up(options, password)
        if password:
            self._warn_of_weak_password(password, user)
        self.stdout.write(
            secret or f"Created the team {options['team']} with {user.email} as owner."
        )

    def _warn_of_weak_password(self, password: str, user: User) -> None:
        """Only warn: a user of this command has full access to the database."""
        try:
            validate_password(password, user)
        except ValidationError as error:
            self.stderr.write(self.style.WARNING(" ".join(error.messages)))


@transaction.atomic
def _set_up(options: dict[str, Any], password: str | None) -> tuple[User, str]:
    """Create a set-up link and use it, as the set-up page does, so that both use the same lock."""
    link = create_setup_link()
    if link is None:
        raise CommandError("Maru is already set up. Ask an owner of a team for an invitation.")
    user, _team, _room = create_first_account(
        token=link,
        name=options["name"],
        email=options["email"],
        password=password,
        team_name=options["team"],
    )
    if not options["print_token"]:
        return user, ""
    _token, secret = create_token(user=user, name="bootstrap", scopes=SCOPES)
    return user, secret


def _password(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"The password file cannot be read: {error}") from error
    password = text.rstrip("\r\n")
    if not password:
        raise CommandError("The password file is empty.")
    return password
