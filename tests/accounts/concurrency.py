"""Concurrent calls of one function, each in a thread with its own database connection."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connection

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def run_concurrently(
    call: Callable[[Argument], Result],
    arguments: Sequence[Argument],
    refusals: type[Exception],
) -> list[Result]:
    """Call `call` with all arguments at once; return the results of the calls not refused.

    The barrier makes all threads start together; it has no timeout, because every thread of the
    pool reaches it.
    """
    barrier = Barrier(len(arguments))

    def start(argument: Argument) -> list[Result]:
        barrier.wait()
        try:
            return [call(argument)]
        except refusals:
            return []
        finally:
            connection.close()

    with ThreadPoolExecutor(len(arguments)) as pool:
        return [result for results in pool.map(start, arguments) for result in results]
