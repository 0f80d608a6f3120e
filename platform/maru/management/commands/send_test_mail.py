"""Sends one mail, to test MARU_EMAIL_URL and MARU_EMAIL_FROM."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email

from maru.config import mail


class Command(BaseCommand):
    help = "Send a test mail to an address. Prints why if the mail server does not accept it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", help="mail address of the recipient")

    def handle(self, *args: Any, **options: Any) -> None:
        address = options["address"]
        try:
            validate_email(address)
        except ValidationError:
            raise CommandError("The recipient must be a mail address: you@example.com.") from None
        if mail.is_printed():
            raise CommandError(
                "MARU_EMAIL_URL is not set, so Maru only prints mail to its log. "
                "Set it, for example to smtp://user:password@mail.example:587."
            )
        text = f"Maru at {settings.PUBLIC_URL} can send mail.\n"
        try:
            send_mail("Test mail from Maru", text, None, [address])
        except OSError as error:
            raise CommandError(mail.why_not_sent(error)) from None
        self.stdout.write(f"The mail server has accepted the mail to {address}.")
