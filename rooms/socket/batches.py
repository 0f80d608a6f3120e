"""Requests that arrive at the same time are resolved together, with one call in a thread."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from rooms.executors import CHECKS, in_thread

BATCH_SIZE: Final = 100

Request = TypeVar("Request")
Result = TypeVar("Result")


class Batches(ABC, Generic[Request, Result]):
    """Resolves requests in batches of up to BATCH_SIZE, one batch at a time.

    Requests that arrive meanwhile are queued and resolved in the next batch, so that a thousand
    clients that connect or join at once cause only tens of queries. Runs on the event loop.
    """

    def __init__(self) -> None:
        self._queue: list[tuple[Request, asyncio.Future[Result]]] = []
        self._worker: asyncio.Task[None] | None = None

    @abstractmethod
    def resolve_many(self, requests: Sequence[Request]) -> Sequence[Result]:
        """Return the result of each request. Called in a thread."""

    async def resolve(self, request: Request) -> Result:
        """Return the result of the request; raises the error of its batch."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append((request, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:BATCH_SIZE], self._queue[BATCH_SIZE:]
            failure: Exception | None = None
            results: Sequence[Result] = ()
            try:
                requests = [request for request, _future in batch]
                results = await in_thread(CHECKS, self.resolve_many, requests)
            except Exception as error:  # set on every future of the batch
                failure = error
            for number, (_request, future) in enumerate(batch):
                if future.cancelled():  # the client has disconnected
                    continue
                if failure is None:
                    future.set_result(results[number])
                else:
                    future.set_exception(failure)
