#!/usr/bin/env python
"""Runs Maru's management commands."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # `platform` is a folder on the path, never a package: Python has a module of that name.
    sys.path.insert(1, str(Path(__file__).resolve().parent / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
