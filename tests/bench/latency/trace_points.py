"""Trace points between the socket and the first delta of an answer.

`install` wraps functions of the running server. Only the part `breakdown` uses it; the servers of
the other parts run without it. A trace point that is never passed is missing in the table.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial, wraps
from typing import Any, Final

STAGES: Final = {
    "read": "socket to consumer",
    "posted": "post_message, committed",
    "claimed": "wake, reap, claim",
    "started": "start, committed",
    "asked": "job to engine",
    "answered": "engine, model included",
    "published": "delta store, encode",
    "shown": "publisher, layer, hub",
    "seen": "hub to client",
}
"""What happens before each trace point, in order. The client itself records the last one."""

Trace = list[tuple[str, float]]


def install() -> Callable[[], Awaitable[Trace]]:
    """Wrap the functions; return a coroutine function that returns and clears the trace."""
    from agents import engine
    from rooms import services
    from rooms.fanout import publisher, topic
    from rooms.runs import claims, lifecycle
    from rooms.socket import consumer

    trace: Trace = []

    def record(name: str) -> None:
        trace.append((name, time.monotonic()))

    def record_first_delta(name: str, envelope: Any) -> None:
        if isinstance(envelope, publisher.Delta) and envelope.seq == 0:
            record(name)

    _after(consumer, "decode_command", partial(record, "read"))
    _after(services, "post_message", partial(record, "posted"))
    _after(claims, "claim", partial(record, "claimed"))
    _after(lifecycle, "start", partial(record, "started"))
    engine.answer = _around(engine.answer, record)
    _before(publisher, "publish", partial(record_first_delta, "published"))
    _before(topic.Topic, "receive", lambda _, event, *rest: record_first_delta("shown", event))

    async def read() -> Trace:
        copy = trace.copy()
        trace.clear()
        return copy

    return read


def _after(owner: Any, name: str, callback: Callable[[], None]) -> None:
    """Call the callback each time the function has returned neither None nor an empty list."""
    function = getattr(owner, name)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if result:
            callback()
        return result

    setattr(owner, name, wrapper)


def _before(owner: Any, name: str, callback: Callable[..., None]) -> None:
    """Call the callback with the arguments before each call of the function."""
    function = getattr(owner, name)

    @wraps(function)
    def wrapper(*args: Any) -> Any:
        callback(*args)
        return function(*args)

    setattr(owner, name, wrapper)


def _around(answer: Any, record: Callable[[str], None]) -> Any:
    """Record the call of `answer` and each of its parts."""

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        record("asked")
        async for part in answer(*args, **kwargs):
            record("answered")  # for every part; the reader uses the first
            yield part

    return wrapper
