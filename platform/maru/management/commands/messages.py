"""Collects translatable strings into the locale folder of their app, and compiles them."""

import os
import subprocess
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.core.management.commands import makemessages

APPS = ("accounts", "agents", "rooms")
LANGUAGES = ("en", "ko")
NOT_OURS = [".venv/*", "tests/*", "static/vendor/*", "var/*", "deploy/*", "*.egg-info"]


def home_of(path: Path) -> Path:
    """Return the locale folder for the strings of a file.

    Templates and scripts are outside the apps: `templates/rooms/x.html` belongs to rooms. Files
    that belong to no app belong to maru.
    """
    for name in path.resolve().relative_to(settings.BASE_DIR).parts[:2]:
        if name in APPS:
            return Path(settings.BASE_DIR, name, "locale")
    return Path(settings.BASE_DIR, "platform", "maru", "locale")


class Collector(makemessages.Command):
    """Django's makemessages with our locale folders: Django searches only the parent folders."""

    # A fuzzy match is worse than a missing translation, which a test detects.
    msgmerge_options = [  # noqa: RUF012 # Django's command appends to it
        *makemessages.Command.msgmerge_options,
        "--no-fuzzy-matching",
    ]

    def find_files(self, root: str) -> list[Any]:
        files: list[Any] = super().find_files(root)
        for file in files:
            file.locale_dir = str(home_of(Path(file.dirpath, file.file)))
        return files


class Command(BaseCommand):
    help = "Collect strings from the code into the .po files and compile them into .mo files."

    def handle(self, *args: Any, **options: Any) -> None:
        os.chdir(settings.BASE_DIR)
        how = {
            "locale": LANGUAGES,
            "ignore_patterns": NOT_OURS,
            "no_obsolete": True,
            "add_location": "file",
            "no_wrap": True,
            "verbosity": 0,
        }
        call_command(Collector(), domain="django", extensions=["html", "txt", "py"], **how)
        call_command(Collector(), domain="djangojs", extensions=["js"], **how)
        for catalogue in Path().glob("**/locale/*/LC_MESSAGES/*.po"):
            if ".venv" not in catalogue.parts:
                _tidy(catalogue)
        call_command("compilemessages", locale=LANGUAGES, ignore_patterns=[".venv"], verbosity=0)


def _tidy(catalogue: Path) -> None:
    """Fill the English catalogue with its msgids; drop creation dates, which only cause diffs."""
    if catalogue.parts[-3] == "en":
        command = ["msgen", "--no-wrap", "-o", str(catalogue), str(catalogue)]
        subprocess.run(command, check=True)  # noqa: S603 # no external input
    lines = catalogue.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith('"POT-Creation-Date')]
    catalogue.write_text("".join(kept), encoding="utf-8")
