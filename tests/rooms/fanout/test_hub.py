"""The hub: one subscription per room, undecodable messages, and a layer that is unavailable."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
from channels.layers import InMemoryChannelLayer, channel_layers

from maru.server.lifespan import running
from rooms.fanout import hub, publisher
from rooms.fanout.hub import RoomHub
from rooms.fanout.publisher import EVERYWHERE, Publisher, group_of
from rooms.protocol.events import MemberRemoved, encode
from tests.deadlines import DEADLINE, scaled
from tests.rooms.fanout.doubles import ROOM, FakeClient, FakeStore, batch, entry, until


class Layer(InMemoryChannelLayer):
    """The in-memory layer; it counts group operations and can be made unavailable."""

    def __init__(self) -> None:
        super().__init__(capacity=10_000)
        self.available = True
        self.added = Counter[str]()
        self.discarded = Counter[str]()

    async def new_channel(self, prefix: str = "specific.") -> str:
        self._check()
        return str(await super().new_channel(prefix))

    async def group_add(self, group: str, channel: str) -> None:
        self._check()
        await asyncio.sleep(0)  # as over a network: other tasks run in between
        self.added[group] += 1
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self._check()
        await asyncio.sleep(0)
        self.discarded[group] += 1
        await super().group_discard(group, channel)

    def _check(self) -> None:
        if not self.available:
            raise ConnectionError


class ListeningLayer(Layer):
    """Calls the hub with each message, as the Redis layer does."""

    def listen(self, channel: str, on_message: Callable[[Any], None]) -> None:
        self.channels[channel] = Listener(on_message)


class Listener(asyncio.Queue[Any]):
    """Takes the place of the queue of a channel."""

    def __init__(self, on_message: Callable[[Any], None]) -> None:
        super().__init__()
        self._on_message = on_message

    def put_nowait(self, item: Any) -> None:
        self._on_message(item[1])


@pytest.fixture(params=[Layer, ListeningLayer])
def layer(request: pytest.FixtureRequest) -> Layer:
    created = request.param()
    assert isinstance(created, Layer)
    return created


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest_asyncio.fixture
async def room_hub(
    layer: Layer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RoomHub]:
    monkeypatch.setattr(hub, "CHECK_SECONDS", 0.05)
    created = RoomHub(layer, store.source())
    async with running(created.run(), "hub"):
        yield created


async def join(room_hub: RoomHub, client: FakeClient) -> None:
    room_hub.connect(client.connection)
    subscription = await room_hub.subscribe(ROOM, client.connection)
    await room_hub.start(subscription, 0, {})


async def join_without_checks(
    room_hub: RoomHub, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> FakeClient:
    """Return a client that receives only what the layer delivers, and nothing from the log."""
    monkeypatch.setattr(hub, "CHECK_SECONDS", 3_600)
    client = FakeClient()
    await until(lambda: publisher.EVERYWHERE in layer.groups)
    await join(room_hub, client)
    return client


async def publish(layer: Layer, envelope: publisher.Envelope) -> None:
    """Publish an envelope with a Publisher of its own."""
    publisher = Publisher()
    channel_layers.set("default", layer)
    try:
        async with running(publisher.run(), "publisher"):
            await asyncio.sleep(0)
            publisher.publish(envelope)
            await asyncio.sleep(scaled(0.01))
    finally:
        del channel_layers.backends["default"]


def encoded(envelope: publisher.Envelope) -> bytes:
    """Return an envelope in the encoding of the layer."""
    return msgspec.msgpack.encode(envelope)


def has_received(client: FakeClient, seq: int) -> bool:
    return client.seqs[-1:] == [seq]


async def eventually(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds: it depends on the hub's periodic checks."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 # no event is set for it
            await asyncio.sleep(0.01)


async def test_concurrent_joins_and_leaves_subscribe_to_the_room_once(
    room_hub: RoomHub, layer: Layer, store: FakeStore
) -> None:
    await until(lambda: publisher.EVERYWHERE in layer.groups)
    clients = [FakeClient() for _ in range(30)]

    for _round in range(3):
        await asyncio.gather(*(join(room_hub, client) for client in clients))
        await asyncio.gather(*(room_hub.disconnect(client.connection) for client in clients[1:]))
        late = FakeClient()
        await asyncio.gather(room_hub.disconnect(clients[0].connection), join(room_hub, late))
        store.log.append(entry(len(store.log) + 1))
        await publish(layer, batch(store.log[-1]))
        await until(partial(has_received, late, len(store.log)))
        assert layer.added[group_of(ROOM)] - layer.discarded[group_of(ROOM)] == 1
        assert late.seqs == [len(store.log)]
        await room_hub.disconnect(late.connection)
        clients = [FakeClient() for _ in range(30)]

    assert group_of(ROOM) not in layer.groups


async def test_retry_does_not_join_the_group_of_a_topic_that_is_opening(
    room_hub: RoomHub, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: publisher.EVERYWHERE in layer.groups)
    released, add = asyncio.Event(), layer.group_add

    async def add_slowly(group: str, channel: str) -> None:
        await released.wait()
        await add(group, channel)

    monkeypatch.setattr(layer, "group_add", add_slowly)
    opening = asyncio.create_task(join(room_hub, FakeClient()))
    await until(lambda: ROOM in room_hub._topics)
    trying = asyncio.create_task(room_hub._retry_subscriptions())
    await asyncio.sleep(0)
    released.set()
    await asyncio.gather(opening, trying)

    assert layer.added[group_of(ROOM)] == 1


async def test_undecodable_message_does_not_stop_delivery(
    room_hub: RoomHub, layer: Layer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await join_without_checks(room_hub, layer, monkeypatch)

    for garbage in ({}, {"envelope": b"\xc1"}, {"envelope": None}):
        await layer.group_send(group_of(ROOM), {"type": "envelope", **garbage})
    broken = encode(MemberRemoved(uuid4(), room=ROOM, seq=1))[:-2]
    await publish(layer, batch(publisher.LogEntry(1, "member.removed", broken)))
    store.log.append(entry(1))
    await publish(layer, batch(store.log[0]))

    await eventually(lambda: client.seqs == [1])


async def test_undecodable_message_in_a_batch_drops_no_other_message(
    room_hub: RoomHub, layer: Layer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await join_without_checks(room_hub, layer, monkeypatch)
    store.log += [entry(seq) for seq in (1, 2, 3)]
    envelopes = [encoded(batch(event)) for event in store.log]
    store.log.clear()  # so that a gap cannot be filled from it

    (channel,) = layer.groups[group_of(ROOM)]
    for envelope in (envelopes[0], b"\xc1", *envelopes[1:]):
        message = {"type": "envelope", "envelope": envelope}
        layer.channels[channel].put_nowait((float("inf"), message))

    await eventually(lambda: client.seqs == [1, 2, 3])


async def test_hub_retries_an_unavailable_layer_with_the_same_channel(
    layer: Layer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "CHECK_SECONDS", 0.01)
    refusals = 3
    add = layer.group_add

    async def refuse_some(group: str, channel: str) -> None:
        nonlocal refusals
        # Like the Redis layer, which adds the channel to the group before it fails.
        layer.groups.setdefault(group, {})[channel] = 0.0
        if refusals:
            refusals -= 1
            raise ConnectionError
        await add(group, channel)

    monkeypatch.setattr(layer, "group_add", refuse_some)
    client = FakeClient()
    created = RoomHub(layer, store.source())
    async with running(created.run(), "hub"):
        await eventually(lambda: layer.added[publisher.EVERYWHERE] == 1)
        created.connect(client.connection)
        await publish(layer, publisher.CredentialRevoked(client.connection.user_id))
        await eventually(lambda: bool(client.closed))

    assert client.closed == [4401]
    assert len(layer.groups.get(publisher.EVERYWHERE, {})) == 1


async def test_room_joined_without_the_layer_is_read_from_the_log_until_it_is_back(
    room_hub: RoomHub, layer: Layer, store: FakeStore
) -> None:
    layer.available = False
    client = FakeClient()
    await join(room_hub, client)

    store.log.append(entry(1))
    await eventually(lambda: client.seqs == [1])
    assert group_of(ROOM) not in layer.groups

    layer.available = True
    await eventually(lambda: group_of(ROOM) in layer.groups)
    reads = store.reads
    store.log.append(entry(2))
    await publish(layer, batch(store.log[-1]))
    await eventually(lambda: client.seqs == [1, 2])

    assert store.reads == reads


async def test_messages_published_in_a_thread_wake_the_event_loop(
    room_hub: RoomHub, layer: Layer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CountingClient(FakeClient):
        def receive(self, payload: bytes) -> None:
            super().receive(payload)
            if len(self.received) == 500:
                arrived.set()

    monkeypatch.setattr(hub, "CHECK_SECONDS", 3_600)  # so that no gap is filled
    await asyncio.sleep(scaled(0.1))  # after the last check, no timer wakes the event loop
    client, publisher, arrived = CountingClient(), Publisher(), asyncio.Event()
    channel_layers.set("default", layer)
    await until(lambda: EVERYWHERE in layer.groups)
    await join(room_hub, client)

    async with running(publisher.run(), "publisher"):
        await asyncio.sleep(0)
        events = [entry(seq) for seq in range(1, 501)]

        def publish_all() -> None:
            for event in events:
                publisher.publish(batch(event))

        thread = threading.Timer(scaled(0.2), publish_all)  # when the event loop is idle
        thread.start()
        async with asyncio.timeout(DEADLINE):
            await arrived.wait()
        thread.join()

    assert client.seqs == list(range(1, 501))
    assert store.reads == 0


def test_embedded_layer_has_a_capacity_of_ten_thousand_messages() -> None:
    """It drops messages silently beyond its capacity, which is 100 by default."""
    layer = channel_layers["default"]

    assert isinstance(layer, InMemoryChannelLayer)
    assert layer.capacity == 10_000


def test_rooms_never_share_a_group() -> None:
    rooms = [uuid4() for _ in range(1_000)] + [UUID(int=n) for n in range(1_000)]

    assert len({group_of(room) for room in rooms}) == len(rooms)
