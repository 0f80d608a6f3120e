"""What lives as long as the process: started before the first request, ended after the last.

Django does not answer ASGI's `lifespan` itself.
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
    async with running(room_publisher.run(), "publisher"):
        yield


@asynccontextmanager
async def hub(state: State) -> AsyncIterator[None]:
    """Everything that this process's sockets hear comes in here."""
    state["hub"] = make_hub()
    async with running(state["hub"].run(), "hub"):
        yield


class CompanionEnded(Exception):
    """What should live as long as the process has ended before it."""


@asynccontextmanager
async def running(work: Coroutine[Any, Any, object], name: str) -> AsyncIterator[None]:
    """Run a coroutine that never returns, for as long as the context lasts.

    Should it end all the same, the context is cancelled, and CompanionEnded leaves it: a process
    that is deaf or mute must not look as if it lived.
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
