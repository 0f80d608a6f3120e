"""A socket as the hub sees it, and its place in each room that it has joined."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import structlog

from rooms.fanout.credentials import Credential
from rooms.fanout.transport import Frame, Transport, Write

if TYPE_CHECKING:
    from rooms.fanout.topic import Item, Topic

log = structlog.get_logger(__name__)

TOO_SLOW: Final = 4408
STUCK_SECONDS: Final = 10
ABORT_SECONDS: Final = 15
PIECE: Final = 65_536


class Connection:
    """A socket as the hub sees it: frames go in at any time, and out in order.

    While it keeps up, a frame is written the moment it comes. When it does not, a task sends what
    has gathered, in large pieces, until it has caught up; nothing is queued for it meanwhile.
    """

    def __init__(
        self,
        credential: Credential,
        transport: Transport,
        close: Callable[[int], Coroutine[Any, Any, None]],
    ) -> None:
        self.credential = credential
        self.subscriptions: dict[UUID, Subscription] = {}
        self._transport = transport
        self._close_connection = close
        self._own: deque[Frame] = deque()
        self.closed = False
        self._task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def user_id(self) -> UUID:
        return self.credential.user_id

    def send(self, payload: bytes) -> None:
        """Send something that is for this socket only."""
        frame = Frame.of(payload)
        if not self.write(frame):
            self._own.append(frame)
            self.wake()

    def write(self, frame: Frame) -> bool:
        """Write a frame at once, if nothing is waiting before it; return whether that was so."""
        return self._task is None and not self.closed and self._transport.write(frame)

    def wake(self) -> None:
        """See to it that everything that waits is sent."""
        if self._task is None and not self.closed:
            self._fall_back()
            self._task = asyncio.create_task(self._flush())

    def writer(self) -> Write | None:
        """Return how to write to the socket until we fall back; None where something waits."""
        if self._task is not None or self.closed:
            return None
        return self._transport.writer(self.wake)

    async def drained(self) -> None:
        """Return when nothing waits any more."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def close(self, code: int) -> None:
        """Send nothing more, and close the socket with a code of ours."""
        if self.closed:
            return
        self.stop()
        self._closing = asyncio.create_task(self._close_connection(code))

    def stop(self) -> None:
        """Send nothing more."""
        if not self.closed:
            # Whoever does not read does not read a close either, and would keep its buffers.
            asyncio.get_running_loop().call_later(ABORT_SECONDS, self._transport.abort)
        self.closed = True
        self._fall_back()
        if self._task is not None:
            self._task.cancel()

    async def _flush(self) -> None:
        # Nothing is awaited between the last piece and the end of the task, or whatever is woken
        # for in between would wait for ever.
        try:
            while frames := self._piece():
                async with asyncio.timeout(STUCK_SECONDS):
                    await self._transport.send(frames)
        except (TimeoutError, IndexError):
            self._task = None
            self.close(TOO_SLOW)
        except Exception as error:  # the socket is gone; its consumer is told of it, too
            log.info("socket.lost", error=type(error).__name__)
        finally:
            self._task = None
            self._go_to_front()

    def _fall_back(self) -> None:
        for subscription in self.subscriptions.values():
            subscription.fall_back()

    def _go_to_front(self) -> None:
        for subscription in self.subscriptions.values():
            subscription.go_to_front()

    def _piece(self) -> list[Frame]:
        """Return the next frames that wait; IndexError where one is not kept any more."""
        frames = list(self._own)
        self._own.clear()
        size = sum(len(frame.wire) for frame in frames)
        for subscription in self.subscriptions.values():
            while size < PIECE and (frame := subscription.next()) is not None:
                frames.append(frame)
                size += len(frame.wire)
        return frames


class Subscription:
    """One socket in one room: a cursor over the topic's ring.

    It is silent until `begin`, which says from where on the socket's own snapshot leaves off. While
    it is in the topic's front, all that comes is written for it there, and the cursor rests.
    """

    def __init__(self, topic: "Topic", connection: Connection) -> None:
        self.topic = topic
        self.connection = connection
        self.cursor = topic.end
        self.seq = -1
        self.live: dict[UUID, tuple[int, int]] = {}
        self.begun = False
        self.revoked = False

    def begin(self, seq: int, live: dict[UUID, tuple[int, int]]) -> None:
        """Start to send what comes after `seq` of the log and after these positions of answers."""
        self.seq, self.live, self.begun = seq, live, True
        self.connection.subscriptions[self.topic.room_id] = self
        self.connection.wake()

    def offer(self, item: "Item") -> None:
        """Pass on an item that has just come into the ring."""
        if not self.begun:
            return
        up_to_date = self.cursor + 1 == self.topic.end
        if up_to_date and self.lacks(item) and self.connection.write(item.frame):
            self.cursor += 1
            self.go_to_front()
        else:
            self.connection.wake()

    def go_to_front(self) -> None:
        """Join those to whom everything is written at once, if nothing speaks against it."""
        if self.cursor != self.topic.end or not self.topic.has_passed(self.seq, self.live):
            return
        if self.begun and not self.revoked and (write := self.connection.writer()) is not None:
            self.topic.bring_to_front(self, write)

    def fall_back(self) -> None:
        """Have the cursor count again, from here on."""
        if self.topic.fall_behind(self):
            self.cursor = self.topic.end

    def next(self) -> Frame | None:
        """Return the next frame that the socket lacks, or None; IndexError off the ring."""
        while self.cursor < self.topic.end:
            item = self.topic.item(self.cursor)
            self.cursor += 1
            if self.lacks(item):
                return item.frame
        return None

    def lacks(self, item: "Item") -> bool:
        """Whether an item is not in the socket's own snapshot already."""
        if item.seq is not None:
            return item.seq > self.seq
        if item.position is None:
            return True
        message, attempt, seq = item.position
        if message not in self.live:
            return item.base > self.seq  # else it began within the snapshot, and has ended there
        return (attempt, seq) > self.live[message]
