"""What leaves a topic, whatever the layer has done to it: each thing once, in order, to all."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooms.fanout import connection as connection_module
from rooms.fanout.connection import TOO_SLOW, Connection
from rooms.fanout.publisher import Ephemeral, LogEntry, RoomEnvelope
from rooms.fanout.topic import FAILED, RING, RING_BYTES, Item, Source
from rooms.protocol.events import MemberRemoved, Presence, encode
from tests.rooms.fanout.doubles import (
    ANSWER,
    ROOM,
    RUN,
    FakeClient,
    FakeStore,
    begun,
    change,
    delta,
    durable,
    ended,
    listen,
    opened,
    until,
)


@asynccontextmanager
async def hearing(
    store: FakeStore, *clients: FakeClient
) -> AsyncIterator[Callable[[RoomEnvelope], None]]:
    topic, source = opened(store), store.source()
    for client in clients:
        listen(topic, client)
    yield lambda envelope: topic.take(envelope, source)
    topic.close()


def spoil(envelopes: list[RoomEnvelope], seed: int) -> list[RoomEnvelope]:
    """Drop, repeat and reorder, but for the last: a later one is what shows the holes."""
    chance = random.Random(seed)
    spoiled: list[RoomEnvelope] = []
    for envelope in envelopes[:-1]:
        if chance.random() < 0.3:
            continue
        spoiled += [envelope] * chance.choice((1, 1, 2))
    for _ in range(len(spoiled) // 3):
        a, b = chance.randrange(len(spoiled)), chance.randrange(len(spoiled))
        spoiled[a], spoiled[b] = spoiled[b], spoiled[a]
    return [*spoiled, envelopes[-1]]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), events=st.integers(1, 30))
async def test_log_arrives_once_and_in_order_whatever_the_layer_does(
    seed: int, events: int
) -> None:
    store, one, two = FakeStore(), FakeClient(), FakeClient(direct=False)
    async with hearing(store, one, two) as take:
        store.log = [durable(seq) for seq in range(1, events + 1)]
        for envelope in spoil([change(each) for each in store.log], seed):
            take(envelope)
            await asyncio.sleep(0)
        await until(lambda: len(two.received) >= events)

    assert one.seqs == two.seqs == list(range(1, events + 1))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), parts=st.integers(1, 30))
async def test_deltas_arrive_once_and_in_order_whatever_the_layer_does(
    seed: int, parts: int
) -> None:
    store, client = FakeStore(), FakeClient()
    async with hearing(store, client) as take:
        take(delta(0, "0 "))
        store.deltas = [f"{seq} " for seq in range(parts)]
        for envelope in spoil([delta(n, text) for n, text in enumerate(store.deltas)], seed):
            take(envelope)
            await asyncio.sleep(0)
        await until(lambda: client.text.endswith(f"{parts - 1} "))

    assert client.text == "".join(store.deltas)


async def test_the_spoiled_stream_really_lacks_and_repeats() -> None:
    """The control: without the topic's order the property would not hold."""
    plain: list[RoomEnvelope] = [change(durable(seq)) for seq in range(1, 40)]

    assert spoil(plain, 1) != plain
    assert len({id(each) for each in spoil(plain, 1)}) < len(plain)


async def test_lost_last_event_is_found_by_the_check() -> None:
    store, client = FakeStore(), FakeClient()
    topic, source = opened(store), store.source()
    listen(topic, client)
    store.log = [durable(1), durable(2)]

    topic.check(2, source)
    assert topic.idle
    topic.check(2, source)
    await until(lambda: len(client.received) == 2)

    assert client.seqs == [1, 2]


async def test_check_does_not_overtake_what_is_on_its_way() -> None:
    store, client = FakeStore(), FakeClient()
    topic, source = opened(store), store.source()
    listen(topic, client)
    store.log = [durable(1), ended(2)]

    topic.check(1, source)
    topic.take(change(durable(1)), source)
    topic.check(2, source)
    topic.take(delta(0, "all of "), source)
    topic.take(delta(1, "it"), source)
    topic.take(change(ended(2)), source)
    topic.check(2, source)
    await until(lambda: client.seqs == [1, 2])
    assert client.text == "all of it"
    assert store.reads == 1  # of the replay, for the tail; none of the log


@pytest.mark.parametrize("shown", [[], ["all "], ["all ", "of ", "it"]])
async def test_end_that_the_check_finds_comes_after_the_last_deltas(shown: list[str]) -> None:
    store, client = FakeStore(), FakeClient()
    store.deltas = ["all ", "of ", "it"]
    topic, source = opened(store), store.source()
    listen(topic, client)
    store.log = [begun(1), ended(2)]
    topic.take(change(begun(1)), source)
    for seq, text in enumerate(shown):
        topic.take(delta(seq, text), source)

    topic.check(2, source)
    topic.check(2, source)
    await until(lambda: client.seqs == [1, 2])
    topic.take(delta(2, "it"), source)
    topic.take(change(ended(2)), source)

    assert client.text == "all of it"
    assert client.received[-1]["type"] == "message.completed"


async def test_end_found_by_the_check_comes_after_what_each_snapshot_lacks() -> None:
    store, early, late = FakeStore(), FakeClient(), FakeClient()
    store.log, store.deltas = [begun(1)], ["all ", "of ", "it"]
    topic, source = opened(store), store.source()
    for client, seq in ((early, 0), (late, 1)):
        subscription = topic.add(client.connection)
        subscription.begin(1, {ANSWER: (1, seq)})
    store.log.append(ended(2))

    topic.check(2, source)
    topic.check(2, source)
    await until(lambda: early.seqs == late.seqs == [2])

    assert (early.text, late.text) == ("of it", "it")


async def test_delta_waits_for_the_start_of_its_answer() -> None:
    store, client = FakeStore(), FakeClient()
    async with hearing(store, client) as take:
        store.log = [durable(1, "message.created", message={"id": ANSWER})]
        take(delta(0, "early", base=1))
        await until(lambda: len(client.received) == 2)

    assert [frame["type"] for frame in client.received] == ["message.created", "message.delta"]


async def test_delta_of_an_ended_answer_is_dropped() -> None:
    store, client = FakeStore(), FakeClient()
    async with hearing(store, client) as take:
        take(delta(0, "shown"))
        take(change(ended(1)))
        take(delta(1, "late"))
        take(change(durable(2)))
        await until(lambda: client.seqs == [1, 2])

    assert client.text == "shown"


async def test_new_attempt_starts_over_and_the_old_one_is_silent() -> None:
    store, client = FakeStore(), FakeClient()
    async with hearing(store, client) as take:
        take(delta(0, "old "))
        take(delta(0, "new ", attempt=2))
        take(delta(1, "zombie "))
        take(delta(1, "text", attempt=2))
        await until(lambda: client.text.endswith("text"))

    assert client.text == "old new text"
    assert [frame["attempt"] for frame in client.received] == [1, 2, 2]


async def test_socket_gets_only_what_its_snapshot_lacks() -> None:
    store, client = FakeStore(), FakeClient()
    topic, source = opened(store), store.source()
    subscription = topic.add(client.connection)
    store.log = [durable(1), durable(2)]
    topic.take(change(*store.log), source)
    topic.take(delta(0, "a"), source)
    topic.take(delta(1, "b"), source)

    subscription.begin(1, {ANSWER: (1, 0)})
    await until(lambda: len(client.received) == 2)

    assert (client.seqs, client.text) == ([2], "b")


async def test_delta_of_an_answer_that_ended_within_the_snapshot_is_dropped() -> None:
    store, client = FakeStore(), FakeClient()
    topic, source = opened(store), store.source()
    subscription = topic.add(client.connection)
    store.log = [durable(1), ended(2)]
    topic.take(change(store.log[0]), source)
    topic.take(delta(0, "tail", base=1), source)
    topic.take(change(store.log[1]), source)

    subscription.begin(2, {})
    topic.take(change(durable(3)), source)
    await until(lambda: client.seqs == [3])

    assert client.text == ""


async def test_hole_that_the_log_cannot_fill_does_not_spin() -> None:
    store, client = FakeStore(), FakeClient()
    async with hearing(store, client) as take:
        take(change(durable(5)))
        for _turn in range(100):
            await asyncio.sleep(0)

    assert store.reads == 1


async def test_removed_member_hears_nothing_after_the_word_of_it() -> None:
    user = uuid4()
    store, victim, witness = FakeStore(), FakeClient(user), FakeClient()
    async with hearing(store, victim, witness) as take:
        take(delta(0, "before"))
        await until(lambda: victim.text == "before")
        removal = MemberRemoved(user, room=ROOM, seq=1)
        take(change(LogEntry(1, "member.removed", encode(removal))))
        take(delta(1, " after"))
        take(change(durable(2)))
        await until(lambda: witness.seqs == [1, 2])

    assert victim.text == "before"
    assert victim.received[-1] == {"type": "room.removed", "room": str(ROOM)}
    assert witness.text == "before after"


async def test_lost_removal_still_takes_the_room_away() -> None:
    user = uuid4()
    store, victim = FakeStore(), FakeClient(user)
    topic, source = opened(store), store.source()
    listen(topic, victim)
    store.log = [LogEntry(1, "member.removed", encode(MemberRemoved(user, room=ROOM, seq=1)))]

    topic.check(1, source)
    topic.check(1, source)
    await until(lambda: bool(victim.received))

    assert [frame["type"] for frame in victim.received] == ["room.removed"]


async def test_socket_that_reads_nothing_is_closed_and_holds_up_nobody() -> None:
    store, stuck, fine = FakeStore(), FakeClient(), FakeClient()
    async with hearing(store, stuck, fine) as take:
        stuck.stop_reading()
        here = encode(Presence(room=ROOM, user=uuid4(), online=True))
        for _number in range(1, RING + 10):
            take(Ephemeral(ROOM, here))
            await asyncio.sleep(0)
        stuck.reading.set()
        await until(lambda: bool(stuck.closed))
        await until(lambda: len(fine.received) == RING + 9)

    assert stuck.closed == [TOO_SLOW]


async def test_store_that_is_away_is_asked_again_at_the_next_check() -> None:
    store, client = FakeStore(), FakeClient()
    topic = opened(store)
    listen(topic, client)
    away = True

    async def events_after(room: UUID, after: int) -> list[LogEntry]:
        if away:
            raise ConnectionError
        return store.log[after:]

    plain = store.source()
    source = Source(plain.last_seqs, events_after, plain.deltas, plain.ended)
    store.log = [durable(1), durable(2)]
    topic.take(change(durable(2)), source)
    await until(lambda: topic.idle)
    away = False
    topic.check(2, source)
    topic.check(2, source)
    await until(lambda: len(client.received) == 2)

    assert client.seqs == [1, 2]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("frames", [0, 1, 3])
async def test_outlet_settles_when_all_is_sent(frames: int, direct: bool) -> None:  # noqa: FBT001 # a parameter
    client = FakeClient(direct=direct)
    for number in range(frames):
        client.connection.send(b'{"type":"note","seq":%d}' % number)

    await client.connection.drained()

    assert client.seqs == list(range(frames))


async def test_healed_deltas_reach_whoever_was_there_before_the_answer_began() -> None:
    store, client = FakeStore(), FakeClient()
    store.log = [durable(seq) for seq in range(1, 6)]
    topic, source = opened(store), store.source()
    listen(topic, client, seq=5)
    store.deltas = ["all ", "of ", "it"]
    topic.take(change(begun(6)), source)
    topic.take(delta(0, "all ", base=6), source)
    topic.take(delta(2, "it", base=6), source)
    await until(lambda: client.text.endswith("it"))

    assert client.text == "all of it"


@pytest.mark.parametrize("shown", [0, 1, 2])
async def test_lost_last_deltas_come_before_the_end_of_their_answer(shown: int) -> None:
    store, client = FakeStore(), FakeClient()
    store.log = [durable(1)]
    topic, source = opened(store), store.source()
    listen(topic, client, seq=1)
    store.deltas = ["all ", "of ", "it"]
    topic.take(change(begun(2)), source)
    for seq in range(shown):
        topic.take(delta(seq, store.deltas[seq], base=2), source)
    topic.take(change(ended(3), durable(4)), source)
    await until(lambda: client.seqs == [2, 3, 4])

    assert client.text == "all of it"
    assert [frame["type"] for frame in client.received][-2:] == [
        "message.completed",
        "room.changed",
    ]


async def test_lost_deltas_of_an_answer_that_began_before_the_room_was_heard() -> None:
    store, client = FakeStore(), FakeClient()
    store.log, store.deltas = [begun(1)], ["all ", "of ", "it"]
    topic, source = opened(store), store.source()
    subscription = topic.add(client.connection)
    subscription.begin(1, {ANSWER: (1, 0)})
    topic.take(delta(2, "it", base=1), source)
    await until(lambda: client.text != "")
    topic.take(change(ended(2)), source)
    await until(lambda: client.seqs == [2])

    assert client.text == "of it"


async def test_answer_that_is_edited_after_its_end_brings_no_delta_again() -> None:
    store, client = FakeStore(), FakeClient()
    store.log, store.deltas = [begun(1)], ["all ", "of it"]
    topic, source = opened(store), store.source()
    subscription = topic.add(client.connection)
    subscription.begin(1, {ANSWER: (1, 0)})
    topic.take(change(ended(2)), source)
    await until(lambda: client.seqs == [2])
    edited = durable(3, "message.updated", message={"id": ANSWER, "run": RUN})
    store.log += [ended(2), edited]
    topic.take(change(edited), source)
    await until(lambda: client.seqs == [2, 3])

    assert client.text == "of it"


async def test_end_of_an_answer_does_not_wait_for_a_replay_that_fails() -> None:
    store, client = FakeStore(), FakeClient()
    topic = opened(store)
    listen(topic, client)

    async def deltas(message: UUID, attempt: int, since: int) -> list[str]:
        raise ConnectionError

    plain = store.source()
    source = Source(plain.last_seqs, plain.events_after, deltas, plain.ended)
    store.log = [begun(1), ended(2)]
    topic.take(change(begun(1)), source)
    topic.take(change(ended(2)), source)
    await until(lambda: client.seqs == [1, 2])


async def test_room_keeps_no_more_bytes_than_its_ring_may_have() -> None:
    store, fine, lagging = FakeStore(), FakeClient(), FakeClient()
    big = encode(MemberRemoved(uuid4(), room=ROOM, seq=0)) + b" " * (RING_BYTES // 8)
    async with hearing(store, fine, lagging) as take:
        lagging.stop_reading()
        for _number in range(20):
            take(Ephemeral(ROOM, big))
            await asyncio.sleep(0)
        kept = sum(len(item.frame.wire) for item in ring_of(fine))
        lagging.reading.set()
        await until(lambda: bool(lagging.closed))

    assert RING_BYTES // 2 < kept <= RING_BYTES
    assert len(fine.received) == 20
    assert lagging.closed == [TOO_SLOW]


async def test_frame_that_is_larger_than_a_ring_may_be_reaches_everybody() -> None:
    store, client = FakeStore(), FakeClient(direct=False)
    async with hearing(store, client) as take:
        take(Ephemeral(ROOM, b'{"type":"note","seq":1,"text":"' + b"x" * RING_BYTES + b'"}'))
        await until(lambda: client.seqs == [1])


async def test_room_whose_sockets_have_everything_keeps_nothing() -> None:
    store, fine, lagging = FakeStore(), FakeClient(), FakeClient()
    topic, source = opened(store), store.source()
    listen(topic, fine)
    listen(topic, lagging)
    await asyncio.sleep(0)
    topic.take(change(durable(1)), source)
    lagging.stop_reading()
    topic.take(change(durable(2), durable(3)), source)

    topic.trim()
    kept = [item.seq for item in ring_of(fine)]
    lagging.reading.set()
    await until(lambda: lagging.seqs == [1, 2, 3])
    topic.trim()

    assert kept == [2, 3]
    assert ring_of(fine) == []


async def test_lagging_socket_catches_up_in_one_write() -> None:
    store, client = FakeStore(), FakeClient()
    async with hearing(store, client) as take:
        await client.connection.drained()
        client.stop_reading()
        for seq in range(1, 201):
            take(change(durable(seq)))
        client.reading.set()
        await until(lambda: len(client.received) == 200)

    assert client.sends == 1


async def test_what_waits_for_a_store_that_hangs_is_bounded_and_healed_later() -> None:
    store, client = FakeStore(), FakeClient()
    answers = asyncio.Event()
    topic = opened(store)
    listen(topic, client)

    async def events_after(room: UUID, after: int) -> list[LogEntry]:
        await answers.wait()
        return store.log[after : after + 500]

    plain = store.source()
    source = Source(plain.last_seqs, events_after, plain.deltas, plain.ended)
    store.log = [durable(seq) for seq in range(1, 2 * RING)]
    for each in store.log[1:]:
        topic.take(change(each), source)
    waiting = len(topic._held)  # the bound is of what nobody sees
    answers.set()
    await until(lambda: len(client.received) == len(store.log))

    assert waiting == RING
    assert client.seqs == list(range(1, 2 * RING))


async def test_socket_that_fails_is_closed_and_the_others_hear() -> None:
    class Broken(FakeClient):
        def _hear_wire(self, wire: bytes) -> None:
            raise OSError

    store, broken, fine = FakeStore(), Broken(), FakeClient()
    async with hearing(store, broken, fine) as take:
        await asyncio.gather(broken.connection.drained(), fine.connection.drained())
        take(change(durable(1)))
        take(change(durable(2)))
        await until(lambda: bool(broken.closed))

    assert fine.seqs == [1, 2]
    assert broken.closed == [FAILED]


async def test_socket_that_keeps_up_is_written_to_until_it_stops_reading() -> None:
    store, client = FakeStore(), FakeClient()
    async with hearing(store, client) as take:
        await client.connection.drained()
        take(change(durable(1)))
        client.stop_reading()
        take(change(durable(2)))
        take(change(durable(3)))
        in_front = client.written
        client.reading.set()
        await until(lambda: len(client.received) == 3)
        await client.connection.drained()
        take(change(durable(4)))

    assert (in_front, client.written) == (1, 2)
    assert client.seqs == [1, 2, 3, 4]


async def test_socket_ahead_of_its_topic_waits_until_that_has_passed_its_snapshot() -> None:
    store, ahead, other = FakeStore(), FakeClient(), FakeClient()
    store.log = [begun(1)]
    topic, source = opened(store), store.source()
    listen(topic, other, seq=1)
    subscription = topic.add(ahead.connection)
    subscription.begin(2, {ANSWER: (1, 1)})
    await ahead.connection.drained()

    topic.take(delta(0, "a", base=1), source)
    topic.take(change(durable(2)), source)
    topic.take(delta(1, "b", base=1), source)
    topic.take(delta(2, "c", base=1), source)
    await ahead.connection.drained()
    topic.take(delta(3, "d", base=1), source)
    topic.take(change(durable(3)), source)

    assert (ahead.seqs, ahead.text) == ([3], "cd")
    assert ahead.written == 2


async def test_late_delta_of_an_answer_from_before_the_room_was_heard_is_not_written() -> None:
    store, client = FakeStore(), FakeClient()
    store.log = [begun(1), ended(2)]
    topic, source = opened(store), store.source()
    listen(topic, client, seq=2)
    await client.connection.drained()

    topic.take(delta(0, "late", base=1), source)
    topic.take(change(durable(3)), source)

    assert (client.seqs, client.text, client.written) == ([3], "", 1)


async def test_socket_that_leaves_the_front_with_its_room_hears_no_more() -> None:
    store, client = FakeStore(), FakeClient()
    topic, source = opened(store), store.source()
    subscription = listen(topic, client)
    await client.connection.drained()

    topic.take(change(durable(1)), source)
    topic.drop(subscription)
    topic.take(change(durable(2)), source)

    assert client.seqs == [1]
    assert not topic.front


def ring_of(client: FakeClient) -> list[Item]:
    """Return what the topic of the one room that an client has joined still keeps."""
    (subscription,) = client.connection.subscriptions.values()
    return list(subscription.topic._ring)  # the bound is of what nobody sees


@pytest.mark.parametrize("how", [Connection.stop, lambda connection: connection.close(FAILED)])
async def test_connection_of_a_socket_that_has_ended_is_not_kept_for_what_it_does_not_read(
    how: Callable[[Connection], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "ABORT_SECONDS", 0)
    client = FakeClient()

    how(client.connection)
    await until(lambda: client.aborted)
