"""The server of the product with other limits: `python -m tests.server LIMITS`.

LIMITS is a JSON object of dotted names of constants and their values. The name RATE_LIMIT_SECONDS
sets the window of all rate limits. A name that does not exist is an error.
"""

import json
import os
import sys
from dataclasses import replace
from importlib import import_module

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "maru.settings")

RATE_LIMIT_SECONDS = "RATE_LIMIT_SECONDS"


def main(limits: dict[str, float]) -> None:
    """Set the limits and serve."""
    django.setup()
    for name, value in limits.items():
        if name == RATE_LIMIT_SECONDS:
            _set_windows(int(value))
        else:
            module, _, constant = name.rpartition(".")
            getattr(import_module(module), constant)  # fails where the product has renamed it
            setattr(import_module(module), constant, value)
    from maru.server import process

    process.main()


def _set_windows(seconds: int) -> None:
    from accounts import rate_limits

    windows = {key: replace(limit, seconds=seconds) for key, limit in rate_limits.LIMITS.items()}
    rate_limits.LIMITS = windows  # type: ignore[misc]  # final in the product


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
