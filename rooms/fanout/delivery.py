"""Delivery of a topic's items to its subscriptions: written at once, or read from a ring buffer."""

from collections import deque
from collections.abc import Iterator
from typing import Final
from uuid import UUID

import structlog
from msgspec import Struct

from rooms.fanout.connection import Connection
from rooms.fanout.positions import Positions
from rooms.fanout.transport import Frame, Writer
from rooms.protocol.compact import StreamNumbers

log = structlog.get_logger(__name__)

RING_ITEMS: Final = 4_096
RING_BYTES: Final = 4 * 2**20
INTERNAL_ERROR: Final = 1011


class Item(Struct, frozen=True, gc=False):
    """A frame with its place in the log (`seq`) or in an answer (`position`, `base`).

    `position` is (message, attempt, seq of the delta); `base` is the room's seq at which the
    attempt started. Other frames, for example presence, have neither. `compact` is the frame for
    compact connections, if it differs for them and the topic has such connections.
    """

    frame: Frame
    compact: Frame | None = None
    seq: int | None = None
    position: tuple[UUID, int, int] | None = None
    base: int = 0


class Ring:
    """The newest items of a topic: at most RING_ITEMS and RING_BYTES, but at least one item.

    Items are numbered from 0; `end` is the number of the next item.
    """

    def __init__(self) -> None:
        self.end = 0
        self._items: deque[Item] = deque()
        self._bytes = 0

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __getitem__(self, number: int) -> Item:
        """Return the item with this number; raise IndexError if it has been dropped."""
        offset = number - (self.end - len(self._items))
        if offset < 0:
            raise IndexError(number)
        return self._items[offset]

    def append(self, item: Item) -> None:
        self._items.append(item)
        self._bytes += len(item.frame.wire)
        self.end += 1
        while len(self._items) > RING_ITEMS or (self._bytes > RING_BYTES and len(self._items) > 1):
            self._drop_oldest()

    def skip(self) -> None:
        """Count an item that no subscription will read from here; drop the earlier ones."""
        self.end += 1
        if self._items:
            self._items.clear()
            self._bytes = 0

    def drop_before(self, number: int) -> None:
        """Drop the items with lower numbers."""
        while self.end - len(self._items) < number:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._bytes -= len(self._items.popleft().frame.wire)


class Live:
    """The live subscriptions of a topic that get the same form of its frames."""

    def __init__(self) -> None:
        self._writers: dict[Subscription, Writer] = {}
        self._listed: list[Writer] | None = None  # of `_writers`, until they change

    def __len__(self) -> int:
        return len(self._writers)

    def add(self, subscription: "Subscription", writer: Writer) -> None:
        self._writers[subscription] = writer
        self._listed = None

    def discard(self, subscription: "Subscription") -> bool:
        """Remove a subscription; return False if it was not live."""
        if self._writers.pop(subscription, None) is None:
            return False
        self._listed = None
        return True

    def writers(self) -> list[Writer]:
        """Return the writers of all. A later change makes a new list."""
        if self._listed is None:
            self._listed = list(self._writers.values())
        return self._listed

    def writers_lacking(self, item: Item) -> list[Writer]:
        """Return the writers of those whose snapshot does not contain the item."""
        return [writer for each, writer in self._writers.items() if each.lacks(item)]

    def close(self, writer: Writer) -> None:
        """Close the connection of a writer that has failed."""
        for subscription, each in list(self._writers.items()):
            if each is writer:
                subscription.connection.close(INTERNAL_ERROR)


class Delivery:
    """The ring buffer of a topic and the subscriptions that it is delivered to.

    `live`, `live_compact` and `lagging` hold the subscriptions by mode: see `Subscription`.
    """

    def __init__(self, room_id: UUID, positions: Positions) -> None:
        self.room_id = room_id
        self.positions = positions
        self.streams = StreamNumbers()
        self.ring = Ring()
        self.subscriptions: dict[Connection, Subscription] = {}
        self.compact: set[Subscription] = set()
        self.live = Live()
        self.live_compact = Live()
        self.lagging: set[Subscription] = set()
        self.known_since = -1
        """The log's seq at the time when a subscription first went live."""

    def add(self, connection: Connection) -> "Subscription":
        """Add a subscription; it replaces an earlier subscription of the connection."""
        self.remove(connection)
        subscription = Subscription(self, connection)
        self.subscriptions[connection] = subscription
        self.lagging.add(subscription)
        if connection.is_compact:
            self.compact.add(subscription)
        return subscription

    def remove(self, connection: Connection) -> None:
        """Deliver nothing more to a connection, neither new items nor items in the ring."""
        subscription = self.subscriptions.pop(connection, None)
        if subscription is not None:
            self.live.discard(subscription)
            self.live_compact.discard(subscription)
            self.lagging.discard(subscription)
            self.compact.discard(subscription)

    def deliver(self, item: Item) -> None:
        """Write an item to live subscriptions, and add it to the ring for the lagging ones."""
        if self.lagging:
            self.ring.append(item)
        else:
            self.ring.skip()
        # Copied before the writes: a subscription that starts to lag during a write has this item.
        lagging = list(self.lagging) if self.lagging else ()
        # An answer that began before `known_since` may have ended before the topic existed, and a
        # snapshot may contain its end. Only its deltas are compared with each snapshot.
        to_all = item.position is None or item.base > self.known_since
        for live, frame in (
            (self.live, item.frame),
            (self.live_compact, item.compact or item.frame),
        ):
            if not live:
                continue
            wire = frame.wire
            # Hot path: for each live subscription one write, and no other of its objects is read. A
            # subscription that starts to lag during the writes is still in this list.
            for writer in live.writers() if to_all else live.writers_lacking(item):
                try:
                    writer.write(wire)
                except Exception:  # the other subscriptions must still get the item
                    log.exception("socket.failed")
                    live.close(writer)
        for subscription in lagging:
            if subscription.started:
                subscription.connection.flush()

    def trim(self) -> None:
        """Drop the items that every subscription has received: all items, if none lags."""
        cursors = (subscription.cursor for subscription in self.lagging)
        self.ring.drop_before(min(cursors, default=self.ring.end))


class Subscription:
    """One connection's subscription to one topic.

    Nothing is delivered before `start`, which takes the position of the client's snapshot. After
    that a subscription is in one of two modes:

    - Live: `Delivery.live` or `Delivery.live_compact` maps it to its connection's transport. An
      item costs one write to that transport: no task, no queue and no comparison.
    - Lagging: it is in `Delivery.lagging`. An item is only added to the ring, which all
      subscriptions share. The connection's flush task reads the ring from `cursor` on and writes
      many items at once. Nothing is queued for each connection, so slow clients cost no memory.
      If the ring has dropped an item that the cursor needs, the connection is closed with 4408.

    There are two transitions:

    - Lagging to live, `go_live`: at the end of a flush task, if the cursor is at the end of
      the ring and the topic has passed the snapshot. No later item is part of the snapshot then,
      so items need not be compared with it.
    - Live to lagging, `lag`: when the connection starts a flush task. It does so when its client
      reads too slowly (backpressure), and when one of its lagging subscriptions gets an item. It
      also happens when the connection is closed. All subscriptions of a connection lag together:
      otherwise a write of a live subscription would overtake the frames that the task sends.
    """

    __slots__ = (
        "_delivery",
        "_live",
        "answers",
        "connection",
        "cursor",
        "revoked",
        "room_id",
        "seq",
        "started",
    )

    def __init__(self, delivery: Delivery, connection: Connection) -> None:
        self.room_id = delivery.room_id
        self.connection = connection
        self.started = False
        self.revoked = False
        self.seq = -1
        self.answers: dict[UUID, tuple[int, int]] = {}
        self.cursor = delivery.ring.end  # meaningless while live
        self._delivery = delivery
        self._live = delivery.live_compact if connection.is_compact else delivery.live

    @property
    def streams(self) -> StreamNumbers | None:
        """The numbers of the room's answers, if the connection gets compact deltas."""
        return self._delivery.streams if self.connection.is_compact else None

    def start(self, seq: int, answers: dict[UUID, tuple[int, int]]) -> None:
        """Start delivery of the items that the client's snapshot does not contain.

        The snapshot contains the log up to `seq`, and the deltas of each unfinished answer up to
        (attempt, seq of the delta).
        """
        self.seq, self.answers, self.started = seq, answers, True
        self.connection.subscriptions[self.room_id] = self
        self.connection.flush()

    def go_live(self, writer: Writer) -> None:
        """Go live, if nothing is unread and the topic has passed the snapshot."""
        delivery = self._delivery
        if self not in delivery.lagging or self.cursor != delivery.ring.end:
            return
        if delivery.positions.have_passed(self.seq, self.answers):
            if delivery.known_since < 0:
                delivery.known_since = delivery.positions.seq
            delivery.lagging.discard(self)
            self._live.add(self, writer)

    def lag(self) -> None:
        """Stop being live: later items are read through the cursor."""
        if self._live.discard(self):
            self._delivery.lagging.add(self)
            self.cursor = self._delivery.ring.end

    def next_frame(self) -> Frame | None:
        """Return the next frame that the client lacks, or None if there is none.

        Raises IndexError if the ring has dropped it.
        """
        while self.cursor < self._delivery.ring.end:
            item = self._delivery.ring[self.cursor]
            self.cursor += 1
            if self.lacks(item):
                return (item.compact if self.connection.is_compact else None) or item.frame
        return None

    def lacks(self, item: Item) -> bool:
        """Return True unless the item is part of the client's snapshot."""
        if item.seq is not None:
            return item.seq > self.seq
        if item.position is None:
            return True
        message, attempt, seq = item.position
        if message not in self.answers:
            # Either the attempt began after the snapshot, or the answer ended within it.
            return item.base > self.seq
        return (attempt, seq) > self.answers[message]
