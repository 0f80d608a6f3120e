"""ASGI lifespan: starts the background tasks of a process and stops them at shutdown.

Django's ASGI handler does not implement the lifespan protocol.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from rooms.fanout.publisher import publisher as room_publisher
from rooms.socket.routing import make_hub

log = structlog.get_logger(__name__)

State = dict[str, Any]
Companion = Callable[[State], AbstractAsyncContextManager[None]]


class Lifespan:
    """Wraps an ASGI application: enters the companions at startup, exits them at shutdown.

    Companions are exited in reverse order. A companion is a context manager that gets the lifespan
    state. The values that it adds to the state are in `scope["state"]` of every request.
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
    """Run the publisher, which sends the envelopes of this process to the channel layer."""
    async with running(room_publisher.run(), "publisher"):
        yield


@asynccontextmanager
async def hub(state: State) -> AsyncIterator[None]:
    """Run the hub, which forwards frames from the channel layer to local connections."""
    state["hub"] = make_hub()
    async with running(state["hub"].run(), "hub"):
        yield


class CompanionEnded(Exception):
    """A background task has ended before the shutdown."""


@asynccontextmanager
async def running(work: Coroutine[Any, Any, object], name: str) -> AsyncIterator[None]:
    """Run `work`, a coroutine that must not return, as a task while the context is open.

    If the task ends early, the task that entered the context is cancelled and CompanionEnded is
    raised: a process that cannot send or receive frames must not pass its health check.
    """
    task = asyncio.create_task(work, name=name)
    host = asyncio.current_task()
    assert host is not None

    def end(_task: asyncio.Task[object]) -> None:
        host.cancel()

    task.add_done_callback(_report)
    task.add_done_callback(end)
    try:
        yield
    except asyncio.CancelledError:
        if not task.done():
            raise
        host.uncancel()
        raise CompanionEnded(name) from None
    finally:
        task.remove_done_callback(end)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _report(task: asyncio.Task[object]) -> None:
    if not task.cancelled():
        log.critical("companion.ended", name=task.get_name(), exc_info=task.exception())
