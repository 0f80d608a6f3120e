"""Reports refusals of services as errors of a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from accounts.errors import MaruError


@contextmanager
def refusals_as_command_errors() -> Iterator[None]:
    """Raise CommandError, with the sentences for people, for a MaruError of the block."""
    try:
        yield
    except MaruError as error:
        sentences = error.fields.values() if error.fields else [error.detail]
        raise CommandError(" ".join(map(str, sentences))) from error
