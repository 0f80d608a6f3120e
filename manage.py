#!/usr/bin/env python
"""Runs management commands."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # `platform` must be a folder on sys.path and not a package: a package of that name would hide
    # Python's own module `platform`.
    sys.path.insert(1, str(Path(__file__).resolve().parent / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
