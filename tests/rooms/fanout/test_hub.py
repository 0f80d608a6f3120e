"""The hub of a process: it hears each room once, whatever fails, and whoever comes at once."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
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
    """The layer of the embedded profile; it counts, and can be made to be away."""

    def __init__(self) -> None:
        super().__init__(capacity=10_000)
        self.away = False
        self.added = Counter[str]()
        self.discarded = Counter[str]()

    async def new_channel(self, prefix: str = "specific.") -> str:
        self._reach()
        return str(await super().new_channel(prefix))

    async def group_add(self, group: str, channel: str) -> None:
        self._reach()
        await asyncio.sleep(0)  # as over a network: others come meanwhile
        self.added[group] += 1
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self._reach()
        await asyncio.sleep(0)
        self.discarded[group] += 1
        await super().group_discard(group, channel)

    def _reach(self) -> None:
        if self.away:
            raise ConnectionError


class GenerousLayer(Layer):
    """Gives what has come together at once, as the layer of Redis does."""

    def receive_queued(self, channel: str) -> Iterator[Any]:
        queue = self.channels[channel]
        while not queue.empty():
            _expires, message = queue.get_nowait()
            yield message


@pytest.fixture(params=[Layer, GenerousLayer])
def layer(request: pytest.FixtureRequest) -> Layer:
    made = request.param()
    assert isinstance(made, Layer)
    return made


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest_asyncio.fixture
async def room_hub(
    layer: Layer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RoomHub]:
    monkeypatch.setattr(hub, "CHECK_SECONDS", 0.05)
    made = RoomHub(layer, store.source())
    async with running(made.run(), "hub"):
        yield made


async def join(room_hub: RoomHub, client: FakeClient) -> None:
    room_hub.connect(client.connection)
    subscription = await room_hub.subscribe(ROOM, client.connection)
    await room_hub.start(subscription, 0, {})


async def join_unhealed(
    room_hub: RoomHub, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> FakeClient:
    """Return a socket that hears what the layer brings, and nothing from the log."""
    monkeypatch.setattr(hub, "CHECK_SECONDS", 3_600)
    client = FakeClient()
    await until(lambda: publisher.EVERYWHERE in layer.groups)
    await join(room_hub, client)
    return client


async def tell(layer: Layer, envelope: publisher.Envelope) -> None:
    """Send as a publisher does."""
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
    """Return an envelope as it travels."""
    return msgspec.msgpack.encode(envelope)


def has_received(client: FakeClient, seq: int) -> bool:
    return client.seqs[-1:] == [seq]


async def eventually(condition: Callable[[], bool]) -> None:
    """Look again and again: what it waits for takes the hub's checks and a clock."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 # nothing tells of it
            await asyncio.sleep(0.01)


async def test_rooms_that_many_join_and_leave_at_once_are_heard_once(
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
        await tell(layer, batch(store.log[-1]))
        await until(partial(has_received, late, len(store.log)))
        assert layer.added[group_of(ROOM)] - layer.discarded[group_of(ROOM)] == 1
        assert late.seqs == [len(store.log)]
        await room_hub.disconnect(late.connection)
        clients = [FakeClient() for _ in range(30)]

    assert group_of(ROOM) not in layer.groups


async def test_room_that_is_just_being_opened_is_not_heard_twice(
    room_hub: RoomHub, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: publisher.EVERYWHERE in layer.groups)
    answers, add = asyncio.Event(), layer.group_add

    async def add_slowly(group: str, channel: str) -> None:
        await answers.wait()
        await add(group, channel)

    monkeypatch.setattr(layer, "group_add", add_slowly)
    opening = asyncio.create_task(join(room_hub, FakeClient()))
    await until(lambda: ROOM in room_hub._topics)
    trying = asyncio.create_task(room_hub._retry_subscriptions())
    await asyncio.sleep(0)
    answers.set()
    await asyncio.gather(opening, trying)

    assert layer.added[group_of(ROOM)] == 1


async def test_message_that_cannot_be_read_silences_nobody(
    room_hub: RoomHub, layer: Layer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await join_unhealed(room_hub, layer, monkeypatch)

    for garbage in ({}, {"envelope": b"\xc1"}, {"envelope": None}):
        await layer.group_send(group_of(ROOM), {"type": "envelope", **garbage})
    broken = encode(MemberRemoved(uuid4(), room=ROOM, seq=1))[:-2]
    await tell(layer, batch(publisher.LogEntry(1, "member.removed", broken)))
    store.log.append(entry(1))
    await tell(layer, batch(store.log[0]))

    await eventually(lambda: client.seqs == [1])


async def test_what_comes_at_once_is_all_heard_and_what_cannot_be_read_takes_nothing_with_it(
    room_hub: RoomHub, layer: Layer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await join_unhealed(room_hub, layer, monkeypatch)
    store.log += [entry(seq) for seq in (1, 2, 3)]
    envelopes = [encoded(batch(event)) for event in store.log]
    store.log.clear()  # nor read when something is missing

    (channel,) = layer.groups[group_of(ROOM)]
    for envelope in (envelopes[0], b"\xc1", *envelopes[1:]):
        message = {"type": "envelope", "envelope": envelope}
        layer.channels[channel].put_nowait((float("inf"), message))

    await eventually(lambda: client.seqs == [1, 2, 3])


async def test_layer_that_is_away_at_the_start_is_waited_for_and_leaves_no_channel_behind(
    layer: Layer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "CHECK_SECONDS", 0.01)
    refusals = 3
    add = layer.group_add

    async def refuse_some(group: str, channel: str) -> None:
        nonlocal refusals
        # As the layer of Redis does: it keeps the channel in mind, and fails then.
        layer.groups.setdefault(group, {})[channel] = 0.0
        if refusals:
            refusals -= 1
            raise ConnectionError
        await add(group, channel)

    monkeypatch.setattr(layer, "group_add", refuse_some)
    client = FakeClient()
    made = RoomHub(layer, store.source())
    async with running(made.run(), "hub"):
        await eventually(lambda: layer.added[publisher.EVERYWHERE] == 1)
        made.connect(client.connection)
        await tell(layer, publisher.CredentialRevoked(client.connection.user_id))
        await eventually(lambda: bool(client.closed))

    assert client.closed == [4401]
    assert len(layer.groups.get(publisher.EVERYWHERE, {})) == 1


async def test_room_that_is_joined_while_the_layer_is_away_is_heard_by_the_log_and_then_by_it(
    room_hub: RoomHub, layer: Layer, store: FakeStore
) -> None:
    layer.away = True
    client = FakeClient()
    await join(room_hub, client)

    store.log.append(entry(1))
    await eventually(lambda: client.seqs == [1])
    assert group_of(ROOM) not in layer.groups

    layer.away = False
    await eventually(lambda: group_of(ROOM) in layer.groups)
    reads = store.reads
    store.log.append(entry(2))
    await tell(layer, batch(store.log[-1]))
    await eventually(lambda: client.seqs == [1, 2])

    assert store.reads == reads


async def test_what_a_plain_thread_publishes_arrives_at_once(
    room_hub: RoomHub, layer: Layer, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waited(FakeClient):
        def receive(self, payload: bytes) -> None:
            super().receive(payload)
            if len(self.received) == 500:
                arrived.set()

    monkeypatch.setattr(hub, "CHECK_SECONDS", 3_600)  # nothing is healed meanwhile
    await asyncio.sleep(scaled(0.1))  # the last check: from here on nothing else wakes the loop
    client, publisher, arrived = Waited(), Publisher(), asyncio.Event()
    channel_layers.set("default", layer)
    await until(lambda: EVERYWHERE in layer.groups)
    await join(room_hub, client)

    async with running(publisher.run(), "publisher"):
        await asyncio.sleep(0)
        events = [entry(seq) for seq in range(1, 501)]

        def publish_all() -> None:
            for event in events:
                publisher.publish(batch(event))

        thread = threading.Timer(scaled(0.2), publish_all)  # when the loop is at rest
        thread.start()
        async with asyncio.timeout(DEADLINE):
            await arrived.wait()
        thread.join()

    assert client.seqs == list(range(1, 501))
    assert store.reads == 0


def test_embedded_layer_holds_more_than_a_hundred_messages() -> None:
    """Beyond its capacity, which is 100 unless it is set, it drops in silence."""
    layer = channel_layers["default"]

    assert isinstance(layer, InMemoryChannelLayer)
    assert layer.capacity == 10_000


def test_rooms_never_share_a_group() -> None:
    rooms = [uuid4() for _ in range(1_000)] + [UUID(int=n) for n in range(1_000)]

    assert len({group_of(room) for room in rooms}) == len(rooms)
