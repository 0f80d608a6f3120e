"""One hub a process: it hears a room once, and hands the same frame to every socket there.

The layer may lose, repeat and reorder; what leaves the hub does not: see `rooms.fanout.topic`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import structlog
from channels.layers import BaseChannelLayer

from rooms import metrics
from rooms.fanout import publisher
from rooms.fanout.activity import Activity
from rooms.fanout.connection import Connection, Subscription
from rooms.fanout.credentials import Credential
from rooms.fanout.presence import RENEWED_SECONDS, Presence
from rooms.fanout.publisher import (
    ActivityHint,
    CredentialRevoked,
    Envelope,
    PresenceChanged,
    RoomEnvelope,
)
from rooms.fanout.topic import Source, Topic

log = structlog.get_logger(__name__)

CHECK_SECONDS: Final = 1.0
CREDENTIALS_SECONDS: Final = 4
LAYER_SECONDS: Final = 2
CREDENTIALS_ENDED: Final = 4401


class RoomHub:
    """The topics of this process, one channel on the layer for all of them."""

    def __init__(self, layer: BaseChannelLayer, source: Source) -> None:
        self._layer: Any = layer  # Any: groups are an extension that the base class lacks
        self._waiting = getattr(layer, "waiting", _nothing)
        self._source = source
        self._channel = ""
        self._tuned_in = False
        self._topics: dict[UUID, Topic] = {}
        self._connections: set[Connection] = set()
        self._activity = Activity()
        self._presence = Presence()

    async def run(self) -> None:
        """Hear the layer until cancelled; one that is away at the start is waited for."""
        rounds = [
            asyncio.create_task(_again_and_again(seconds, work))
            for seconds, work in (
                (CHECK_SECONDS, self._check_topics),
                (CHECK_SECONDS, self._hear_the_unheard),
                (CREDENTIALS_SECONDS, self._check_credentials),
                (RENEWED_SECONDS, self._presence.renew),
            )
        ]
        try:
            while not self._tuned_in:
                await self._tune_in()
            while True:
                try:
                    message = await self._layer.receive(self._channel)
                    self._take(publisher.open_message(message))
                    for message in self._waiting(self._channel):
                        self._take(publisher.open_message(message))
                except Exception:  # one bad message must not silence the process
                    log.exception("hub.message_unread")
        finally:
            for each in rounds:
                each.cancel()

    async def _tune_in(self) -> None:
        try:
            # A group remembers its channels though it could not be joined: one is enough.
            self._channel = self._channel or await self._layer.new_channel()
            await self._layer.group_add(publisher.EVERYWHERE, self._channel)
            self._tuned_in = True
        except Exception as error:  # whatever the layer raises while it is away
            log.warning("hub.no_layer", error=type(error).__name__)
            await asyncio.sleep(CHECK_SECONDS)

    def connect(self, connection: Connection) -> None:
        """Take in a socket: it is told of its rooms, and closed when its credential ends."""
        self._connections.add(connection)
        metrics.SOCKETS.inc()

    async def disconnect(self, connection: Connection) -> None:
        """Let go of a socket and of all that it listened to."""
        connection.stop()
        if connection in self._connections:
            self._connections.remove(connection)
            metrics.SOCKETS.dec()
        for subscription in list(connection.subscriptions.values()):
            await self.unsubscribe(subscription)

    def is_subscribed(self, room_id: UUID) -> bool:
        """Whether a socket of this process listens to the room, so that one more costs nothing."""
        topic = self._topics.get(room_id)
        return topic is not None and topic.opened

    async def subscribe(self, room_id: UUID, connection: Connection) -> Subscription:
        """Listen to a room for a socket; nothing is sent before `Subscription.begin`.

        Listen first, read second: what happens after the return is in the ring, what happened
        before is in the log. While the layer is away the room is heard by the checks of the log.
        """
        while True:
            topic = self._topics.setdefault(room_id, Topic(room_id, self._presence.leave))
            async with topic.lock:
                if self._topics.get(room_id) is not topic:
                    continue  # the last socket left while we waited
                if not topic.opened:
                    await self._open(topic)
                return topic.add(connection)

    async def begin(
        self, subscription: Subscription, seq: int, live: dict[UUID, tuple[int, int]]
    ) -> None:
        """Send to a socket what comes after its snapshot, and show that its user is here."""
        subscription.begin(seq, live)
        await self._presence.enter(subscription.topic.room_id, subscription.connection.user_id)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Stop listening for a socket; the room is let go with its last one."""
        topic, connection = subscription.topic, subscription.connection
        topic.drop(subscription)
        if connection.subscriptions.get(topic.room_id) is subscription:
            del connection.subscriptions[topic.room_id]
            self._presence.leave(topic.room_id, connection.user_id)
        await self._let_go(topic)

    async def wait_until_sent(self, room_id: UUID, seq: int, connection: Connection) -> None:
        """Return when the room's frames up to `seq` have gone to the socket, if it is joined."""
        subscription = connection.subscriptions.get(room_id)
        if subscription is not None:
            await subscription.topic.reached(seq)
            await connection.drained()

    async def _open(self, topic: Topic) -> None:
        await self._hear(topic)
        last_seqs = await self._source.last_seqs([topic.room_id])
        topic.seq = last_seqs.get(topic.room_id, 0)
        topic.opened = True
        topic.work(self._source)

    async def _hear(self, topic: Topic) -> None:
        """Have the layer bring us the room, if it is there."""
        try:
            async with asyncio.timeout(LAYER_SECONDS):
                await self._layer.group_add(publisher.group_of(topic.room_id), self._channel)
            topic.heard = True
        except Exception as error:  # the check tries again
            log.warning("hub.no_layer", error=type(error).__name__)

    async def _let_go(self, topic: Topic) -> None:
        """Stop hearing a room that no socket listens to."""
        async with topic.lock:
            if topic.subscriptions or self._topics.get(topic.room_id) is not topic:
                return
            del self._topics[topic.room_id]
            topic.close()
            try:
                async with asyncio.timeout(LAYER_SECONDS):
                    group = publisher.group_of(topic.room_id)
                    await self._layer.group_discard(group, self._channel)
            except Exception as error:  # a group too many is only noise
                log.warning("hub.no_layer", error=type(error).__name__)

    def _take(self, envelope: Envelope) -> None:
        match envelope:
            case ActivityHint(room=room_id):
                self._activity.heard(room_id, self._connections)
            case CredentialRevoked():
                self._end(envelope)
            case PresenceChanged(room=room_id, user=user_id, online=online):
                self._presence.heard(room_id, user_id, online=online)
                self._hand_over(envelope)
            case _:
                self._hand_over(envelope)

    def _hand_over(self, envelope: RoomEnvelope) -> None:
        if (topic := self._topics.get(envelope.room)) is not None:
            topic.take(envelope, self._source)

    def _end(self, ended: CredentialRevoked) -> None:
        for connection in [o for o in self._connections if ended.covers(o.credential)]:
            connection.close(CREDENTIALS_ENDED)

    async def _check_topics(self) -> None:
        """Compare with the log: a lost last message shows in nothing else."""
        for deserted in [t for t in self._topics.values() if not t.subscriptions]:
            await self._let_go(deserted)  # its last member was removed, or its opening failed
        if not self._topics:
            return
        last_seqs = await self._source.last_seqs(list(self._topics))
        for room_id, last_seq in last_seqs.items():
            if (topic := self._topics.get(room_id)) is not None:
                topic.check(last_seq, self._source)
                topic.trim()

    async def _hear_the_unheard(self) -> None:
        """Try those rooms again that were opened without the layer, until it fails once more."""
        for topic in [topic for topic in self._topics.values() if not topic.heard]:
            async with topic.lock:  # whoever opens it has it, and may have heard it meanwhile
                if not topic.heard and self._topics.get(topic.room_id) is topic:
                    await self._hear(topic)
            if not topic.heard:
                return

    async def _check_credentials(self) -> None:
        """Close what came in by something that has ended since: the word of it may be lost."""
        if not self._connections:
            return
        joined: defaultdict[Credential, set[UUID]] = defaultdict(set)
        for connection in self._connections:
            joined[connection.credential] |= connection.subscriptions.keys()
        ended = await self._source.ended(joined)
        for connection in [o for o in self._connections if o.credential in ended]:
            connection.close(CREDENTIALS_ENDED)


def _nothing(_channel: str) -> tuple[()]:
    """Of the layers that there are, only ours can say what it brings next."""
    return ()


async def _again_and_again(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do some work every so many seconds, each kind by itself: none waits for another's trouble."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception as error:  # the database or Redis is away: the next time will do
            log.warning("hub.unchecked", error=type(error).__name__)
