"""Doing one thing many times at once, each in a thread with its own database connection."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connection

Who = TypeVar("Who")
What = TypeVar("What")


def run_concurrently(
    do: Callable[[Who], What], whos: Sequence[Who], refusals: type[Exception]
) -> list[What]:
    """Call `do` with each of `whos` at the same moment; return what it returned where it did."""
    barrier = Barrier(len(whos))

    def start(who: Who) -> list[What]:
        barrier.wait()
        try:
            return [do(who)]
        except refusals:
            return []
        finally:
            connection.close()

    with ThreadPoolExecutor(len(whos)) as pool:
        return [done for some in pool.map(start, whos) for done in some]
