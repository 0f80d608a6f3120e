"""The browser of the tests, of the benchmark and of the README's picture."""

import os
import shutil
from collections.abc import Mapping
from typing import Any, Final

PACKAGE: Final = "chromium-headless-shell"
"""Debian's package, and its program: Chromium without windows, so that a page costs less."""

# Only loopback names resolve, and Chromium makes no requests of its own.
_SWITCHES: Final = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
)


def is_installed() -> bool:
    return shutil.which(PACKAGE) is not None


def launch_options() -> Mapping[str, Any]:
    """Return the arguments of Playwright's `launch` for the installed browser."""
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # the sandbox does not work for root
    return {"executable_path": shutil.which(PACKAGE), "args": [*_SWITCHES, *sandbox]}
