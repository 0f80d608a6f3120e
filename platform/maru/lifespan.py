"""What lives as long as the process: started before the first request, ended after the last.

Django does not answer ASGI's `lifespan` itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from rooms import broadcast
from rooms.routing import make_hub

log = structlog.get_logger(__name__)

State = dict[str, Any]
Companion = Callable[[State], AbstractAsyncContextManager[None]]


class Lifespan:
    """An application with companions, each entered at start and left, in reverse, at the end.

    What a companion puts into the state is in the scope of every request under `state`.
    """

    def __init__(self, app: Any, *companions: Companion) -> None:
        self.app = app
        self.companions = companions

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        async with AsyncExitStack() as stack:
            await receive()
            for companion in self.companions:
                await stack.enter_async_context(companion(scope["state"]))
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


@asynccontextmanager
async def publisher(state: State) -> AsyncIterator[None]:
    """Everything that this process publishes goes out here."""
    async with running(broadcast.publisher.run(), "publisher"):
        yield


@asynccontextmanager
async def hub(state: State) -> AsyncIterator[None]:
    """Everything that this process's sockets hear comes in here."""
    state["hub"] = make_hub()
    async with running(state["hub"].run(), "hub"):
        yield


@asynccontextmanager
async def running(work: Any, name: str) -> AsyncIterator[None]:
    """Run a coroutine that never returns, for as long as the context lasts."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("companion.ended", name=task.get_name(), exc_info=error)
