"""The hub of a process: it subscribes to each room once and delivers to all local connections.

The channel layer may drop, repeat and reorder messages; `rooms.fanout.topic` repairs that.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import structlog
from channels.layers import BaseChannelLayer

from accounts.errors import is_outage
from rooms import metrics
from rooms.fanout import publisher
from rooms.fanout.activity import Activity
from rooms.fanout.connection import Connection
from rooms.fanout.credentials import Credential
from rooms.fanout.delivery import Subscription
from rooms.fanout.presence import RENEW_SECONDS, Presence
from rooms.fanout.publisher import (
    ActivityHint,
    Batch,
    CredentialRevoked,
    Delta,
    Envelope,
    Ephemeral,
    PresenceChanged,
    ReadPositionsChanged,
)
from rooms.fanout.topic import Source, Topic

log = structlog.get_logger(__name__)

CHECK_SECONDS: Final = 1.0
CREDENTIALS_SECONDS: Final = 4
LAYER_SECONDS: Final = 2
CREDENTIALS_ENDED: Final = 4401

Listen = Callable[[str, Callable[[dict[str, Any]], None]], None]


class RoomHub:
    """The connections and topics of this process, and its one channel on the layer.

    Runs on the event loop.
    """

    def __init__(self, layer: BaseChannelLayer, source: Source) -> None:
        self._layer: Any = layer  # Any: the base class does not declare the groups extension
        # Only the Redis layer can call the hub with each message.
        self._listen: Listen | None = getattr(layer, "listen", None)
        self._source = source
        self._channel = ""
        self._connections: set[Connection] = set()
        self._topics: dict[UUID, Topic] = {}
        self._activity = Activity()
        self._presence = Presence()

    async def run(self) -> None:
        """Receive from the layer until cancelled. Waits for a layer that is not available yet."""
        periodic = [
            asyncio.create_task(_repeat(seconds, work))
            for seconds, work in (
                (CHECK_SECONDS, self._check_topics),
                (CHECK_SECONDS, self._retry_subscriptions),
                (CREDENTIALS_SECONDS, self._check_credentials),
                (RENEW_SECONDS, self._presence.renew),
            )
        ]
        try:
            await self._open_channel()
            if self._listen is not None:
                await asyncio.Event().wait()  # until this task is cancelled
            while True:
                self._receive(await self._layer.receive(self._channel))
        finally:
            for task in periodic:
                task.cancel()

    async def _open_channel(self) -> None:
        """Create the channel and join EVERYWHERE; retry until the layer is available."""
        while True:
            try:
                # The channel is kept between attempts: a layer may keep it in the group although
                # `group_add` failed, and a second channel would receive every message twice.
                if not self._channel:
                    self._channel = await self._layer.new_channel()
                    if self._listen is not None:
                        # Before the channel joins a group: nothing is queued for `receive` then.
                        self._listen(self._channel, self._receive)
                await self._layer.group_add(publisher.EVERYWHERE, self._channel)
            except Exception as error:  # the layer's own exceptions while it is not available
                log.warning("hub.layer_unavailable", error=type(error).__name__)
                await asyncio.sleep(CHECK_SECONDS)
            else:
                return

    def _receive(self, message: dict[str, Any]) -> None:
        """Dispatch a message of the layer; log one that cannot be decoded."""
        try:
            self._dispatch(publisher.decode(message))
            _observe_delivery(message)
        except Exception:  # the next message must still be received
            log.exception("hub.message_undecodable")

    def _dispatch(self, envelope: Envelope) -> None:
        """Pass a message of the layer to the topic, connections or activity that it concerns."""
        match envelope:  # the most frequent first
            case Delta() | Batch() | Ephemeral() | PresenceChanged():
                if isinstance(envelope, PresenceChanged):
                    self._presence.correct(envelope.room, envelope.user, online=envelope.online)
                if (topic := self._topics.get(envelope.room)) is not None:
                    topic.receive(envelope)
            case ActivityHint(room=room_id):
                self._activity.add(room_id, self._connections)
            case ReadPositionsChanged(users=users_by_room):
                self._activity.add_reads(users_by_room, self._connections)
            case CredentialRevoked():
                self._close_revoked(envelope)

    def _close_revoked(self, revoked: CredentialRevoked) -> None:
        for connection in list(self._connections):
            if revoked.covers(connection.credential):
                connection.close(CREDENTIALS_ENDED)

    def connect(self, connection: Connection) -> None:
        """Add a connection: it gets activity hints, and is closed if its credential is revoked."""
        self._connections.add(connection)
        metrics.SOCKETS.inc()

    async def disconnect(self, connection: Connection) -> None:
        """Remove a connection and its subscriptions."""
        connection.stop()
        if connection in self._connections:
            self._connections.remove(connection)
            metrics.SOCKETS.dec()
            metrics.socket_closed(connection.close_code)
        for room_id in list(connection.subscriptions):
            await self.unsubscribe(room_id, connection)

    def has_topic(self, room_id: UUID) -> bool:
        """Return True if the room has a ready topic, so that a subscription creates none."""
        topic = self._topics.get(room_id)
        return topic is not None and topic.ready

    async def subscribe(self, room_id: UUID, connection: Connection) -> Subscription:
        """Subscribe a connection; deliver nothing before `start`.

        Callers subscribe first and read the snapshot second: later events are in the topic's ring,
        and earlier events are in the log. While the layer is unavailable, the periodic checks of
        the log deliver the events.
        """
        while True:
            topic = self._topics.setdefault(
                room_id, Topic(room_id, self._source, self._presence.leave)
            )
            async with topic.lock:
                if self._topics.get(room_id) is not topic:
                    continue  # closed while this call waited for the lock
                if not topic.ready:
                    await self._join_group(topic)
                    last_seqs = await self._source.last_seqs([room_id])
                    topic.start(last_seqs.get(room_id, 0))
                return topic.delivery.add(connection)

    async def start(
        self, subscription: Subscription, seq: int, answers: dict[UUID, tuple[int, int]]
    ) -> None:
        """Start delivery (see `Subscription.start`) and announce the user's presence."""
        subscription.start(seq, answers)
        self._presence.enter(subscription.room_id, subscription.connection.user_id)

    async def unsubscribe(self, room_id: UUID, connection: Connection) -> None:
        """Remove the connection's subscription, if any; leave the room's group with the last."""
        topic = self._topics.get(room_id)
        if topic is None:
            return
        topic.delivery.remove(connection)
        if connection.subscriptions.pop(room_id, None) is not None:
            self._presence.leave(room_id, connection.user_id)
        await self._close_if_unused(topic)

    async def wait_until_sent(self, room_id: UUID, seq: int, connection: Connection) -> None:
        """Return once the room's log up to `seq` has been sent to a subscribed connection."""
        topic = self._topics.get(room_id)
        if topic is not None and room_id in connection.subscriptions:
            await topic.wait_for(seq)
            await connection.drained()

    async def _join_group(self, topic: Topic) -> None:
        try:
            async with asyncio.timeout(LAYER_SECONDS):
                await self._layer.group_add(publisher.group_of(topic.room_id), self._channel)
            topic.subscribed = True
        except Exception as error:  # `_retry_subscriptions` tries again
            log.warning("hub.layer_unavailable", error=type(error).__name__)

    async def _close_if_unused(self, topic: Topic) -> None:
        async with topic.lock:
            if topic.delivery.subscriptions or self._topics.get(topic.room_id) is not topic:
                return
            del self._topics[topic.room_id]
            topic.close()
            try:
                async with asyncio.timeout(LAYER_SECONDS):
                    group = publisher.group_of(topic.room_id)
                    await self._layer.group_discard(group, self._channel)
            except Exception as error:  # messages of a room without a topic are dropped
                log.warning("hub.layer_unavailable", error=type(error).__name__)

    async def _check_topics(self) -> None:
        """Compare all topics with the log, in one query; a lost last message leaves no gap."""
        for unused in [t for t in self._topics.values() if not t.delivery.subscriptions]:
            await self._close_if_unused(unused)  # its last member was removed, or opening failed
        if not self._topics:
            return
        last_seqs = await self._source.last_seqs(list(self._topics))
        for room_id, last_seq in last_seqs.items():
            if (topic := self._topics.get(room_id)) is not None:
                topic.check(last_seq)
                topic.delivery.trim()

    async def _retry_subscriptions(self) -> None:
        """Retry the group of topics that failed to join it; stop at the first failure."""
        for topic in [topic for topic in self._topics.values() if not topic.subscribed]:
            async with topic.lock:  # `subscribe` may hold it, and have joined the group
                if not topic.subscribed and self._topics.get(topic.room_id) is topic:
                    await self._join_group(topic)
            if not topic.subscribed:
                return

    async def _check_credentials(self) -> None:
        """Close connections with revoked credentials; a CredentialRevoked message may be lost."""
        if not self._connections:
            return
        rooms: defaultdict[Credential, set[UUID]] = defaultdict(set)
        for connection in self._connections:
            rooms[connection.credential] |= connection.subscriptions.keys()
        revoked = await self._source.revoked(rooms)
        for connection in list(self._connections):
            if connection.credential in revoked:
                connection.close(CREDENTIALS_ENDED)


def _observe_delivery(message: dict[str, Any]) -> None:
    # During an upgrade, processes of the version before send no time.
    if (published_at := message.get(publisher.PUBLISHED_AT)) is not None:
        metrics.DELIVERY_SECONDS.observe(max(0.0, time.time() - published_at))


async def _repeat(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Call `work` every `seconds`, in a separate task, so that slow work delays no other work."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception as error:  # the database or Redis is unavailable: retry next time
            trace = not is_outage(error)
            log.warning("hub.check_failed", error=type(error).__name__, exc_info=trace)
