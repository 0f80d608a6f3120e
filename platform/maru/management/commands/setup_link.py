"""Prints a set-up link, which creates the first account of an empty installation."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from maru.config import database
from maru.web.setup import link_for_empty_installation


class Command(BaseCommand):
    help = "Print a link, valid for one hour, that creates the first account, team and room."

    def handle(self, *args: Any, **options: Any) -> None:
        database.prepare()
        link = link_for_empty_installation(settings.PUBLIC_URL)
        if link is None:
            raise CommandError("Maru is already set up. Ask an owner of a team for an invitation.")
        self.stdout.write(link)
