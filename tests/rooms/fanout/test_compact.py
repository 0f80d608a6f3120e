"""Compact deltas: the numbers of answers, and the encoding that connections share."""

import pytest
from msgspec import json

from rooms.protocol.compact import StreamNumbers
from tests.compact import CompactAnswers
from tests.live import Frame
from tests.rooms.fanout.doubles import (
    ANSWER,
    FakeClient,
    FakeStore,
    answer_ended,
    answer_started,
    batch,
    delta,
    subscribe,
    topic_of,
    until,
)


def expanded(client: FakeClient) -> list[Frame]:
    """Return what a compact client received, as `maru.v1` has it."""
    answers = CompactAnswers()
    return [answers.expand(frame) for frame in client.received]


@pytest.mark.parametrize("direct", [True, False])
async def test_compact_client_receives_the_same_as_the_others(*, direct: bool) -> None:
    store, plain = FakeStore(), FakeClient(direct=direct)
    compact = FakeClient(direct=direct, is_compact=True)
    topic = topic_of(store)
    for client in (plain, compact):
        subscribe(topic, client)
        await client.connection.drained()
    store.deltas = ["one ", '"two" ', "세 "]
    store.log = [answer_started(1), answer_started(2, attempt=2), answer_ended(3)]

    topic.receive(batch(store.log[0]))
    topic.receive(delta(0, "lost with the first attempt", base=1))
    topic.receive(batch(store.log[1]))
    topic.receive(delta(0, "one ", attempt=2, base=2))
    topic.receive(delta(2, "세 ", attempt=2, base=2))  # the second one is read from the store
    topic.receive(batch(store.log[2]))
    await until(lambda: plain.seqs[-1:] == [3])
    await compact.connection.drained()

    assert expanded(compact) == plain.received
    assert plain.text.endswith('one "two" 세 ')
    assert sum("stream" in frame for frame in plain.received) == 0


async def test_both_forms_are_encoded_once_for_all_connections() -> None:
    topic = topic_of(FakeStore())
    clients = [FakeClient(is_compact=number % 2 == 1) for number in range(6)]
    for client in clients:
        subscribe(topic, client)
        await client.connection.drained()

    topic.receive(batch(answer_started(1)))
    topic.receive(delta(0, "text", base=1))

    written = {tuple(map(id, client.wires)) for client in clients}
    assert len(written) == 2
    assert [len(client.wires) for client in clients] == [2] * 6


async def test_compact_delta_costs_few_bytes_beside_its_text() -> None:
    client, topic = FakeClient(is_compact=True), topic_of(FakeStore())
    subscribe(topic, client)
    await client.connection.drained()
    text = "a few words of text here"

    topic.receive(batch(answer_started(1)))
    topic.receive(delta(0, text, base=1))

    assert len(client.wires[-1]) <= len(text) + 24


async def test_client_that_joins_during_an_answer_gets_the_number_of_the_others() -> None:
    topic, early, late = topic_of(FakeStore()), *(FakeClient(is_compact=True) for _ in range(2))
    subscribe(topic, early)
    await early.connection.drained()
    topic.receive(batch(answer_started(1)))
    topic.receive(delta(0, "a", base=1))
    number = topic.delivery.streams.of(ANSWER, 1)
    subscribe(topic, late, 1, {ANSWER: (1, 0)})
    await late.connection.drained()

    topic.receive(delta(1, "b", base=1))

    assert early.received[0] == {**json.decode(answer_started(1).frame), "stream": number}
    assert early.received[-1] == late.received[-1] == {"d": [number, 1, "b"]}


def test_each_attempt_has_a_number_that_no_other_answer_of_the_process_has() -> None:
    numbers, others = StreamNumbers(), StreamNumbers()
    first, second = numbers.of(ANSWER, 1), numbers.of(ANSWER, 2)
    older = numbers.of(ANSWER, 1)
    kept = numbers.of(ANSWER, 2)
    numbers.end(ANSWER)

    assert kept == second
    different = [first, second, older, others.of(ANSWER, 1), numbers.of_any(ANSWER, 2)]
    assert len(set(different)) == len(different)
    assert numbers.of_any(ANSWER, 2) not in different
