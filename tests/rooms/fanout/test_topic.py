"""Order, gaps and revocation: what a topic delivers when the layer drops, repeats and reorders."""

import asyncio
import random
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rooms.fanout.delivery import RING_ITEMS
from rooms.fanout.publisher import LogEntry, RoomEnvelope
from rooms.protocol.events import MemberRemoved, encode
from tests.rooms.fanout.doubles import (
    ANSWER,
    ROOM,
    RUN,
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


def distort(envelopes: list[RoomEnvelope], seed: int) -> list[RoomEnvelope]:
    """Drop, repeat and reorder all but the last envelope, which shows the gaps before it."""
    generator = random.Random(seed)
    distorted: list[RoomEnvelope] = []
    for envelope in envelopes[:-1]:
        if generator.random() < 0.3:
            continue
        distorted += [envelope] * generator.choice((1, 1, 2))
    for _ in range(len(distorted) // 3):
        a, b = generator.randrange(len(distorted)), generator.randrange(len(distorted))
        distorted[a], distorted[b] = distorted[b], distorted[a]
    return [*distorted, envelopes[-1]]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), events=st.integers(1, 30))
async def test_log_is_delivered_once_and_in_order_over_a_faulty_layer(
    seed: int, events: int
) -> None:
    store, one, two = FakeStore(), FakeClient(), FakeClient(direct=False)
    async with delivering(store, one, two) as receive:
        store.log = [entry(seq) for seq in range(1, events + 1)]
        for envelope in distort([batch(each) for each in store.log], seed):
            receive(envelope)
            await asyncio.sleep(0)
        await until(lambda: len(two.received) >= events)

    assert one.seqs == two.seqs == list(range(1, events + 1))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), parts=st.integers(1, 30))
async def test_deltas_are_delivered_once_and_in_order_over_a_faulty_layer(
    seed: int, parts: int
) -> None:
    store, client = FakeStore(), FakeClient()
    async with delivering(store, client) as receive:
        receive(delta(0, "0 "))
        store.deltas = [f"{seq} " for seq in range(parts)]
        for envelope in distort([delta(n, text) for n, text in enumerate(store.deltas)], seed):
            receive(envelope)
            await asyncio.sleep(0)
        await until(lambda: client.text.endswith(f"{parts - 1} "))

    assert client.text == "".join(store.deltas)


async def test_faulty_layer_drops_and_repeats_messages() -> None:
    """The control: without a topic's order the two properties above would not hold."""
    plain: list[RoomEnvelope] = [batch(entry(seq)) for seq in range(1, 40)]

    assert distort(plain, 1) != plain
    assert len({id(each) for each in distort(plain, 1)}) < len(plain)


async def test_check_finds_a_lost_last_event() -> None:
    store, client = FakeStore(), FakeClient()
    topic = topic_of(store)
    subscribe(topic, client)
    store.log = [entry(1), entry(2)]

    topic.check(2)
    assert topic.idle
    topic.check(2)
    await until(lambda: len(client.received) == 2)

    assert client.seqs == [1, 2]


async def test_check_does_not_overtake_messages_on_their_way() -> None:
    store, client = FakeStore(), FakeClient()
    topic = topic_of(store)
    subscribe(topic, client)
    store.log = [entry(1), answer_ended(2)]

    topic.check(1)
    topic.receive(batch(entry(1)))
    topic.check(2)
    topic.receive(delta(0, "all of "))
    topic.receive(delta(1, "it"))
    topic.receive(batch(answer_ended(2)))
    topic.check(2)
    await until(lambda: client.seqs == [1, 2])
    assert client.text == "all of it"
    assert store.reads == 1  # of the delta store, before the end; the log is not read


@pytest.mark.parametrize("shown", [[], ["all "], ["all ", "of ", "it"]])
async def test_check_delivers_the_last_deltas_before_the_end_of_an_answer(shown: list[str]) -> None:
    store, client = FakeStore(), FakeClient()
    store.deltas = ["all ", "of ", "it"]
    topic = topic_of(store)
    subscribe(topic, client)
    store.log = [answer_started(1), answer_ended(2)]
    topic.receive(batch(answer_started(1)))
    for seq, text in enumerate(shown):
        topic.receive(delta(seq, text))

    topic.check(2)
    topic.check(2)
    await until(lambda: client.seqs == [1, 2])
    topic.receive(delta(2, "it"))
    topic.receive(batch(answer_ended(2)))

    assert client.text == "all of it"
    assert client.received[-1]["type"] == "message.completed"


async def test_check_delivers_the_deltas_that_each_snapshot_lacks() -> None:
    store, early, late = FakeStore(), FakeClient(), FakeClient()
    store.log, store.deltas = [answer_started(1)], ["all ", "of ", "it"]
    topic = topic_of(store)
    for client, seq in ((early, 0), (late, 1)):
        subscribe(topic, client, 1, {ANSWER: (1, seq)})
    store.log.append(answer_ended(2))

    topic.check(2)
    topic.check(2)
    await until(lambda: early.seqs == late.seqs == [2])

    assert (early.text, late.text) == ("of it", "it")


async def test_delta_waits_for_the_start_of_its_answer() -> None:
    store, client = FakeStore(), FakeClient()
    async with delivering(store, client) as receive:
        store.log = [entry(1, "message.created", message={"id": ANSWER})]
        receive(delta(0, "early", base=1))
        await until(lambda: len(client.received) == 2)

    assert [frame["type"] for frame in client.received] == ["message.created", "message.delta"]


async def test_delta_of_an_ended_answer_is_dropped() -> None:
    store, client = FakeStore(), FakeClient()
    async with delivering(store, client) as receive:
        receive(delta(0, "delivered"))
        receive(batch(answer_ended(1)))
        receive(delta(1, "late"))
        receive(batch(entry(2)))
        await until(lambda: client.seqs == [1, 2])

    assert client.text == "delivered"


async def test_deltas_of_an_old_attempt_are_dropped_after_a_new_attempt() -> None:
    store, client = FakeStore(), FakeClient()
    async with delivering(store, client) as receive:
        receive(delta(0, "old "))
        receive(delta(0, "new ", attempt=2))
        receive(delta(1, "of the old attempt "))
        receive(delta(1, "text", attempt=2))
        await until(lambda: client.text.endswith("text"))

    assert client.text == "old new text"
    assert [frame["attempt"] for frame in client.received] == [1, 2, 2]


async def test_gap_that_the_log_cannot_fill_is_read_once_per_check() -> None:
    store, client = FakeStore(), FakeClient()
    async with delivering(store, client) as receive:
        receive(batch(entry(5)))
        for _turn in range(100):
            await asyncio.sleep(0)

    assert store.reads == 1


async def test_removed_member_receives_nothing_after_room_removed() -> None:
    user = uuid4()
    store, removed, other = FakeStore(), FakeClient(user), FakeClient()
    async with delivering(store, removed, other) as receive:
        receive(delta(0, "before"))
        await until(lambda: removed.text == "before")
        removal = MemberRemoved(user, room=ROOM, seq=1)
        receive(batch(LogEntry(1, "member.removed", encode(removal))))
        receive(delta(1, " after"))
        receive(batch(entry(2)))
        await until(lambda: other.seqs == [1, 2])

    assert removed.text == "before"
    assert removed.received[-1] == {"type": "room.removed", "room": str(ROOM)}
    assert other.text == "before after"


async def test_check_applies_a_lost_removal() -> None:
    user = uuid4()
    store, removed = FakeStore(), FakeClient(user)
    topic = topic_of(store)
    subscribe(topic, removed)
    store.log = [LogEntry(1, "member.removed", encode(MemberRemoved(user, room=ROOM, seq=1)))]

    topic.check(1)
    topic.check(1)
    await until(lambda: bool(removed.received))

    assert [frame["type"] for frame in removed.received] == ["room.removed"]


async def test_next_check_reads_a_log_that_was_unavailable() -> None:
    store, client, available = FakeStore(), FakeClient(), False

    async def events_after(room: UUID, after: int) -> list[LogEntry]:
        if not available:
            raise ConnectionError
        return store.log[after:]

    topic = topic_of(store, replace(store.source(), events_after=events_after))
    subscribe(topic, client)
    store.log = [entry(1), entry(2)]
    topic.receive(batch(entry(2)))
    await until(lambda: topic.idle)
    available = True
    topic.check(2)
    topic.check(2)
    await until(lambda: len(client.received) == 2)

    assert client.seqs == [1, 2]


async def test_recovered_deltas_reach_clients_that_joined_before_the_answer() -> None:
    store, client = FakeStore(), FakeClient()
    store.log = [entry(seq) for seq in range(1, 6)]
    topic = topic_of(store)
    subscribe(topic, client, seq=5)
    store.deltas = ["all ", "of ", "it"]
    topic.receive(batch(answer_started(6)))
    topic.receive(delta(0, "all ", base=6))
    topic.receive(delta(2, "it", base=6))
    await until(lambda: client.text.endswith("it"))

    assert client.text == "all of it"


@pytest.mark.parametrize("shown", [0, 1, 2])
async def test_lost_last_deltas_are_delivered_before_the_end_of_the_answer(shown: int) -> None:
    store, client = FakeStore(), FakeClient()
    store.log = [entry(1)]
    topic = topic_of(store)
    subscribe(topic, client, seq=1)
    store.deltas = ["all ", "of ", "it"]
    topic.receive(batch(answer_started(2)))
    for seq in range(shown):
        topic.receive(delta(seq, store.deltas[seq], base=2))
    topic.receive(batch(answer_ended(3), entry(4)))
    await until(lambda: client.seqs == [2, 3, 4])

    assert client.text == "all of it"
    assert [frame["type"] for frame in client.received][-2:] == [
        "message.completed",
        "room.changed",
    ]


async def test_lost_deltas_of_an_answer_older_than_the_topic_are_recovered() -> None:
    store, client = FakeStore(), FakeClient()
    store.log, store.deltas = [answer_started(1)], ["all ", "of ", "it"]
    topic = topic_of(store)
    subscribe(topic, client, 1, {ANSWER: (1, 0)})
    topic.receive(delta(2, "it", base=1))
    await until(lambda: client.text != "")
    topic.receive(batch(answer_ended(2)))
    await until(lambda: client.seqs == [2])

    assert client.text == "of it"


async def test_edit_of_an_ended_answer_repeats_no_delta() -> None:
    store, client = FakeStore(), FakeClient()
    store.log, store.deltas = [answer_started(1)], ["all ", "of it"]
    topic = topic_of(store)
    subscribe(topic, client, 1, {ANSWER: (1, 0)})
    topic.receive(batch(answer_ended(2)))
    await until(lambda: client.seqs == [2])
    edited = entry(3, "message.updated", message={"id": ANSWER, "run": RUN})
    store.log += [answer_ended(2), edited]
    topic.receive(batch(edited))
    await until(lambda: client.seqs == [2, 3])

    assert client.text == "of it"


async def test_pin_of_a_streaming_answer_does_not_end_it() -> None:
    store, client = FakeStore(), FakeClient()
    store.deltas = ["all ", "of ", "it"]
    topic = topic_of(store)
    subscribe(topic, client)
    message = {"id": ANSWER, "run": RUN, "status": "streaming"}
    pinned = entry(2, "message.updated", message=message)
    store.log = [answer_started(1), pinned]
    topic.receive(batch(answer_started(1)))
    topic.receive(delta(0, "all "))

    topic.receive(batch(pinned))
    topic.receive(delta(1, "of "))
    topic.receive(delta(2, "it"))
    reads_while_streaming = store.reads
    topic.receive(batch(answer_ended(3)))
    await until(lambda: client.seqs == [1, 2, 3])

    assert client.text == "all of it"
    assert reads_while_streaming == 0


async def test_end_of_an_answer_does_not_wait_for_a_failing_delta_store() -> None:
    store, client = FakeStore(), FakeClient()

    async def deltas(message: UUID, attempt: int, since: int) -> list[str]:
        raise ConnectionError

    topic = topic_of(store, replace(store.source(), deltas=deltas))
    subscribe(topic, client)
    store.log = [answer_started(1), answer_ended(2)]
    topic.receive(batch(answer_started(1)))
    topic.receive(batch(answer_ended(2)))
    await until(lambda: client.seqs == [1, 2])


async def test_messages_buffered_during_a_slow_read_are_bounded_and_recovered() -> None:
    store, client = FakeStore(), FakeClient()
    finished = asyncio.Event()

    async def events_after(room: UUID, after: int) -> list[LogEntry]:
        await finished.wait()
        return store.log[after : after + 500]

    topic = topic_of(store, replace(store.source(), events_after=events_after))
    subscribe(topic, client)
    store.log = [entry(seq) for seq in range(1, 2 * RING_ITEMS)]
    for each in store.log[1:]:
        topic.receive(batch(each))
    buffered = len(topic._pending)  # no public name shows the bound
    finished.set()
    await until(lambda: len(client.received) == len(store.log))

    assert buffered == RING_ITEMS
    assert client.seqs == list(range(1, 2 * RING_ITEMS))
