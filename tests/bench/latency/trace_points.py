"""When a message passes the places on its way from the socket to the first text of its answer.

`put` wraps functions of the running server; it is for finding out where the time goes, and the
server under the figures runs without it. A place that is not passed any more leaves a blank.
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
"""What happens up to each mark, in order; the last one is the client's own."""

Marks = list[tuple[str, float]]


def put() -> Callable[[], Awaitable[Marks]]:
    """Mark the places; return how to read, once, what has passed since the last time."""
    from agents import engine
    from rooms import services
    from rooms.fanout import publisher, topic
    from rooms.runs import lifecycle, queue
    from rooms.socket import consumer

    marks: Marks = []

    def mark(name: str) -> None:
        marks.append((name, time.monotonic()))

    def mark_first_delta(name: str, envelope: Any) -> None:
        if isinstance(envelope, publisher.Delta) and envelope.seq == 0:
            mark(name)

    _after(consumer, "decode_command", partial(mark, "read"))
    _after(services, "post_message", partial(mark, "posted"))
    _after(queue, "claim", partial(mark, "claimed"))
    _after(lifecycle, "start", partial(mark, "started"))
    engine.answer = _around(engine.answer, mark)
    _before(publisher, "publish", partial(mark_first_delta, "published"))
    _before(topic.Topic, "receive", lambda _, envelope, *rest: mark_first_delta("shown", envelope))

    async def read() -> Marks:
        passed = marks.copy()
        marks.clear()
        return passed

    return read


def _after(owner: Any, name: str, look: Callable[[], None]) -> None:
    """Look each time that a function has returned something."""
    function = getattr(owner, name)

    @wraps(function)
    def looked_at(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if result is not None:
            look()
        return result

    setattr(owner, name, looked_at)


def _before(owner: Any, name: str, look: Callable[..., None]) -> None:
    """Look at the arguments each time that a function is called."""
    function = getattr(owner, name)

    @wraps(function)
    def looked_at(*args: Any) -> Any:
        look(*args)
        return function(*args)

    setattr(owner, name, looked_at)


def _around(answer: Any, mark: Callable[[str], None]) -> Any:
    """Mark when an answer is asked for, and when its first part is there."""

    async def marked(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        mark("asked")
        async for part in answer(*args, **kwargs):
            mark("answered")  # again and again: who reads takes the first
            yield part

    return marked
