"""Sentences for the operator: on the terminal, or as JSON lines where the log is JSON."""

import json
import sys
from datetime import UTC, datetime
from typing import NoReturn, TextIO

as_json = False
"""True if the log format is JSON. Set by `maru.config.env.load`."""


def say(sentence: str) -> None:
    """Print a sentence on standard output."""
    _print(sentence, sys.stdout, "info")


def complain(sentence: str) -> None:
    """Print a sentence about a mistake with which the process can continue, on standard error."""
    _print(sentence, sys.stderr, "error")


def give_up(*sentences: str, status: int = 1, before: str = "", after: str = "") -> NoReturn:
    """Print the sentences on standard error and exit with `status`.

    `before` and `after` frame a list of mistakes on a terminal. JSON lines do not need them.
    """
    if before and not as_json:
        sentences = (before, *(f"  {sentence}" for sentence in sentences), after)
    for sentence in sentences:
        _print(sentence, sys.stderr, "critical")
    raise SystemExit(status)


def _print(sentence: str, stream: TextIO, level: str) -> None:
    if as_json:
        line = {"event": sentence, "level": level, "timestamp": datetime.now(UTC).isoformat()}
        sentence = json.dumps(line)
    print(sentence, file=stream, flush=True)
