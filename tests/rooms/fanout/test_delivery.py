"""Delivery to connections: live and lagging subscriptions, and the ring buffer that they share."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest

from rooms.fanout import connection
from rooms.fanout.connection import TOO_SLOW, Connection
from rooms.fanout.delivery import INTERNAL_ERROR, RING_BYTES, RING_ITEMS
from rooms.fanout.publisher import Ephemeral
from rooms.protocol.events import MemberRemoved, Presence, encode
from tests.rooms.fanout.doubles import (
    ANSWER,
    ROOM,
    FakeClient,
    FakeStore,
    answer_ended,
    answer_started,
    batch,
    delivering,
    delta,
    entry,
    subscribe,
    topic_of,
    until,
)


async def test_client_receives_only_items_that_its_snapshot_lacks() -> None:
    store, client = FakeStore(), FakeClient()
    topic = topic_of(store)
    subscription = topic.delivery.add(client.connection)
    store.log = [entry(1), entry(2)]
    topic.receive(batch(*store.log))
    topic.receive(delta(0, "a"))
    topic.receive(delta(1, "b"))

    subscription.start(1, {ANSWER: (1, 0)})
    await until(lambda: len(client.received) == 2)

    assert (client.seqs, client.text) == ([2], "b")


async def test_delta_of_an_answer_that_ended_within_the_snapshot_is_dropped() -> None:
    store, client = FakeStore(), FakeClient()
    topic = topic_of(store)
    subscription = topic.delivery.add(client.connection)
    store.log = [entry(1), answer_ended(2)]
    topic.receive(batch(store.log[0]))
    topic.receive(delta(0, "tail", base=1))
    topic.receive(batch(store.log[1]))

    subscription.start(2, {})
    topic.receive(batch(entry(3)))
    await until(lambda: client.seqs == [3])

    assert client.text == ""


async def test_late_delta_of_an_answer_that_ended_before_the_topic_is_dropped() -> None:
    store, client = FakeStore(), FakeClient()
    store.log = [answer_started(1), answer_ended(2)]
    topic = topic_of(store)
    subscribe(topic, client, seq=2)
    await client.connection.drained()

    topic.receive(delta(0, "late", base=1))
    topic.receive(batch(entry(3)))

    assert (client.seqs, client.text, client.direct_writes) == ([3], "", 1)


async def test_client_is_written_to_directly_until_it_stops_reading() -> None:
    store, client = FakeStore(), FakeClient()
    async with delivering(store, client) as receive:
        await client.connection.drained()
        receive(batch(entry(1)))
        client.stop_reading()
        receive(batch(entry(2)))
        receive(batch(entry(3)))
        written = client.direct_writes
        client.reading.set()
        await until(lambda: len(client.received) == 3)
        await client.connection.drained()
        receive(batch(entry(4)))

    assert (written, client.direct_writes) == (1, 2)
    assert client.seqs == [1, 2, 3, 4]


async def test_lagging_client_catches_up_in_one_write() -> None:
    store, client = FakeStore(), FakeClient()
    async with delivering(store, client) as receive:
        await client.connection.drained()
        client.stop_reading()
        for seq in range(1, 201):
            receive(batch(entry(seq)))
        client.reading.set()
        await until(lambda: len(client.received) == 200)

    assert client.sends == 1


async def test_subscription_goes_live_once_the_topic_has_passed_its_snapshot() -> None:
    store, ahead, other = FakeStore(), FakeClient(), FakeClient()
    store.log = [answer_started(1)]
    topic = topic_of(store)
    subscribe(topic, other, seq=1)
    subscribe(topic, ahead, 2, {ANSWER: (1, 1)})
    await ahead.connection.drained()

    topic.receive(delta(0, "a", base=1))
    topic.receive(batch(entry(2)))
    topic.receive(delta(1, "b", base=1))
    topic.receive(delta(2, "c", base=1))
    await ahead.connection.drained()
    topic.receive(delta(3, "d", base=1))
    topic.receive(batch(entry(3)))

    assert (ahead.seqs, ahead.text) == ([3], "cd")
    assert ahead.direct_writes == 2


async def test_removed_live_subscription_receives_nothing() -> None:
    store, client = FakeStore(), FakeClient()
    topic = topic_of(store)
    subscribe(topic, client)
    await client.connection.drained()

    topic.receive(batch(entry(1)))
    topic.delivery.remove(client.connection)
    topic.receive(batch(entry(2)))

    assert client.seqs == [1]
    assert not topic.delivery.live


async def test_connection_whose_write_fails_is_closed_and_the_others_receive() -> None:
    class Broken(FakeClient):
        def write(self, wire: bytes) -> None:
            raise OSError

    store, broken, healthy = FakeStore(), Broken(), FakeClient()
    async with delivering(store, broken, healthy) as receive:
        await asyncio.gather(broken.connection.drained(), healthy.connection.drained())
        receive(batch(entry(1)))
        receive(batch(entry(2)))
        await until(lambda: bool(broken.closed))

    assert healthy.seqs == [1, 2]
    assert broken.closed == [INTERNAL_ERROR]


async def test_client_that_does_not_read_is_closed_and_delays_no_other() -> None:
    store, stuck, healthy = FakeStore(), FakeClient(), FakeClient()
    async with delivering(store, stuck, healthy) as receive:
        stuck.stop_reading()
        frame = encode(Presence(room=ROOM, user=uuid4(), online=True))
        for _number in range(RING_ITEMS + 9):
            receive(Ephemeral(ROOM, frame))
            await asyncio.sleep(0)
        stuck.reading.set()
        await until(lambda: bool(stuck.closed))
        await until(lambda: len(healthy.received) == RING_ITEMS + 9)

    assert stuck.closed == [TOO_SLOW]


async def test_ring_is_bounded_in_bytes() -> None:
    topic, healthy, lagging = topic_of(FakeStore()), FakeClient(), FakeClient()
    big = encode(MemberRemoved(uuid4(), room=ROOM, seq=0)) + b" " * (RING_BYTES // 8)
    subscribe(topic, healthy)
    subscribe(topic, lagging)

    lagging.stop_reading()
    for _number in range(20):
        topic.receive(Ephemeral(ROOM, big))
        await asyncio.sleep(0)
    kept = sum(len(item.frame.wire) for item in topic.delivery.ring)
    lagging.reading.set()
    await until(lambda: bool(lagging.closed))

    assert RING_BYTES // 2 < kept <= RING_BYTES
    assert len(healthy.received) == 20
    assert lagging.closed == [TOO_SLOW]


async def test_frame_larger_than_the_ring_is_delivered() -> None:
    store, client = FakeStore(), FakeClient(direct=False)
    async with delivering(store, client) as receive:
        receive(Ephemeral(ROOM, b'{"type":"note","seq":1,"text":"' + b"x" * RING_BYTES + b'"}'))
        await until(lambda: client.seqs == [1])


async def test_trim_drops_the_items_that_every_client_has() -> None:
    store, healthy, lagging = FakeStore(), FakeClient(), FakeClient()
    topic = topic_of(store)
    subscribe(topic, healthy)
    subscribe(topic, lagging)
    await asyncio.sleep(0)
    topic.receive(batch(entry(1)))
    lagging.stop_reading()
    topic.receive(batch(entry(2), entry(3)))

    topic.delivery.trim()
    kept = [item.seq for item in topic.delivery.ring]
    lagging.reading.set()
    await until(lambda: lagging.seqs == [1, 2, 3])
    topic.delivery.trim()

    assert kept == [2, 3]
    assert list(topic.delivery.ring) == []


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("frames", [0, 1, 3])
async def test_connection_is_drained_once_its_own_frames_are_sent(
    frames: int, *, direct: bool
) -> None:
    client = FakeClient(direct=direct)
    for number in range(frames):
        client.connection.send(b'{"type":"note","seq":%d}' % number)

    await client.connection.drained()

    assert client.seqs == list(range(frames))


@pytest.mark.parametrize("steps", range(3))
@pytest.mark.parametrize(
    "end", [Connection.stop, lambda connection: connection.close(INTERNAL_ERROR)]
)
async def test_connection_that_ends_at_any_step_of_its_flush_task_counts_as_drained(
    end: Callable[[Connection], None], steps: int
) -> None:
    client = FakeClient(direct=False)
    client.stop_reading()
    client.connection.send(b'{"type":"note","seq":0}')
    for _ in range(steps):
        await asyncio.sleep(0)

    end(client.connection)
    drained = asyncio.create_task(client.connection.drained())
    for _ in range(10):  # turns of the event loop, far more than an ended flush task takes
        await asyncio.sleep(0)

    assert drained.done()
    drained.cancel()


@pytest.mark.parametrize(
    "end", [Connection.stop, lambda connection: connection.close(INTERNAL_ERROR)]
)
async def test_transport_of_a_closed_connection_is_aborted(
    end: Callable[[Connection], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ABORT_SECONDS", 0)
    client = FakeClient()

    end(client.connection)
    await until(lambda: client.aborted)
