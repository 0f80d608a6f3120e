"""The snapshot of `room.join`: state, missed events, and unfinished answers."""

import asyncio
from uuid import uuid4

import pytest

from tests.live import Frame, Person, PopulatedRoom
from tests.wire.server import UNKNOWN_ID, Server, WireClient, streamed


@pytest.fixture
def room(rooms: list[PopulatedRoom]) -> PopulatedRoom:
    return rooms[2]


@pytest.fixture
def stranger(rooms: list[PopulatedRoom]) -> Person:
    return rooms[1].members[1]


async def test_first_join_gets_the_state(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        snapshot = await client.join(room.id)

        state = snapshot["state"]
        assert snapshot["room"] == room.id
        assert {member["user"] for member in state["members"]} == {p.user for p in room.members}
        assert state["permissions"]
        assert [frame["type"] for frame in client.frames].count("command.done") == 0


async def test_state_holds_the_newest_fifty_messages_oldest_first(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    room = rooms[3]
    async with server.client(room.members[0]) as client:
        sent = [(await client.send(room.id, f"message {n}"))["message"] for n in range(55)]
        state = (await client.join(room.id))["state"]

        assert [message["id"] for message in state["messages"]] == sent[-50:]


async def test_join_with_a_seq_gets_the_events_after_it(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client, server.client(member) as other:
        known = (await client.join(room.id))["seq"]
        sent = [await other.send(room.id, f"message {n}") for n in range(5)]
        snapshot = await client.join(room.id, known)
        nothing = await client.join(room.id, snapshot["seq"])

        assert snapshot["complete"] is True
        assert snapshot["from"] == known
        events = [(event["seq"], event["message"]["id"]) for event in snapshot["events"]]
        assert events == [(one["seq"], one["message"]) for one in sent]
        assert (nothing["complete"], nothing["events"]) == (True, [])


async def test_snapshot_has_at_most_five_hundred_events(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    room = rooms[4]
    async with server.client(room.members[0]) as client:
        known = (await client.join(room.id))["seq"]
        await client.command("room.leave", room=room.id)
        await asyncio.gather(
            *(
                client.send_raw(
                    {
                        "type": "message.send",
                        "ref": "many",
                        "room": room.id,
                        "client_id": str(uuid4()),
                        "text": f"message {n}",
                        "reply_to": None,
                        "personas": [],
                    }
                )
                for n in range(501)
            )
        )
        await client.received_so_far()

        just = await client.join(room.id, known + 1)
        over = await client.join(room.id, known)

        assert (just["complete"], len(just["events"])) == (True, 500)
        assert over["complete"] is False
        assert len(over["state"]["messages"]) == 50


async def test_seq_ahead_of_the_log_gets_the_state(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        for after in (10_000, 2**31, 2**53 - 1):
            assert (await client.join(room.id, after))["complete"] is False


async def test_invalid_join_fields_are_refused(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        positions: list[object] = [-1, "1", 1.5, True, [], {}]
        for after in positions:
            code = await client.refusal_code("room.join", room=room.id, after=after, live={})
            assert code == "invalid", after
        held: list[object] = [
            [],
            "",
            1,
            {UNKNOWN_ID: 1},
            {UNKNOWN_ID: [1]},
            {UNKNOWN_ID: [1, 2, 3]},
        ]
        for live in [*held, {"x": [1, 2]}]:
            code = await client.refusal_code("room.join", room=room.id, after=None, live=live)
            assert code == "invalid", live
        for wrong in ("", "x", 7, None, room.id + "0"):
            code = await client.refusal_code("room.join", room=wrong, after=None, live={})
            assert code == "invalid", wrong


async def test_foreign_room_is_not_found(
    server: Server, room: PopulatedRoom, stranger: Person, foreign: PopulatedRoom
) -> None:
    async with server.client(stranger) as client:
        answers = [
            await client.command("room.join", room=asked, after=after, live={})
            for asked in (UNKNOWN_ID, room.id, foreign.id)
            for after in (None, 0, 10_000)
        ]

        assert all(answer["type"] == "command.refused" for answer in answers)
        assert len({(answer["code"], answer["detail"]) for answer in answers}) == 1
        assert answers[0]["code"] == "not_found"


async def test_events_continue_after_the_snapshot_without_a_gap(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(member) as other, server.client(owner) as client:
        await other.join(room.id)
        sending = asyncio.gather(*(other.connection.send(posted(room.id)) for _ in range(40)))
        snapshot = await client.join(room.id)
        await sending
        await other.received_so_far()
        last = (await other.send(room.id, "last"))["seq"]
        await client.event("message.created", seq=last)

        came = [
            frame["seq"] for frame in client.of_room(room.id) if frame["type"] == "message.created"
        ]
        assert came == list(range(snapshot["seq"] + 1, last + 1))


async def test_client_that_left_receives_activity_only(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client, server.client(member) as other:
        await client.join(room.id)
        left = await client.command("room.leave", room=room.id)
        frames = len(client.frames)
        sent = await other.send(room.id, "you are not there")
        await client.find(
            lambda frame: frame["type"] == "room.activity" and frame["seq"] >= sent["seq"]
        )

        assert (left["type"], left["result"]) == ("command.done", {})
        assert {frame["type"] for frame in client.frames[frames:]} == {"room.activity"}


async def test_leave_without_join_is_accepted(
    server: Server, owner: Person, room: PopulatedRoom, stranger: Person
) -> None:
    async with server.client(owner) as client, server.client(stranger) as stranger_client:
        assert (await client.command("room.leave", room=room.id))["type"] == "command.done"
        assert await stranger_client.refusal_code("room.leave", room=room.id) == "not_found"
        assert await stranger_client.refusal_code("room.leave", room=UNKNOWN_ID) == "not_found"


async def test_second_join_duplicates_no_event(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        await client.join(room.id)
        await client.join(room.id)
        sent = await client.send(room.id, "once")
        await client.event("message.created", seq=sent["seq"])
        frames = await client.received_so_far()

        assert [frame.get("seq") for frame in frames].count(sent["seq"]) == 1


async def three_tokens(client: WireClient, run: str) -> list[Frame]:
    """Wait for the third token of the answer; return its deltas."""
    await client.find(lambda frame: streamed(client.of_run(run)).split() == ["t0", "t1", "t2"])
    return [frame for frame in client.of_run(run) if frame["type"] == "message.delta"]


def live_of(snapshot: Frame, run: str) -> Frame:
    """Return the entry of the run's unfinished answer in the snapshot."""
    (live,) = [one for one in snapshot["live"] if one["run"] == run]
    return dict(live)


async def test_first_join_gets_the_whole_unfinished_answer(
    server: Server, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client, server.client(member) as late:
        await client.join(room.id)
        async with client.asking(room.id, "fault-hang-after-3") as run:
            deltas = await three_tokens(client, run)
            snapshot = await late.join(room.id)

        assert live_of(snapshot, run) == {
            "message": deltas[-1]["message"],
            "run": run,
            "attempt": deltas[-1]["attempt"],
            "from": 0,
            "seq": deltas[-1]["seq"],
            "text": streamed(deltas),
        }
        assert run in [one["id"] for one in snapshot["state"]["runs"]]


async def test_unfinished_answer_continues_from_the_client_position(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        joined = (await client.join(room.id))["seq"]
        async with client.asking(room.id, "fault-hang-after-3") as run:
            deltas = await three_tokens(client, run)
            message, last = deltas[0]["message"], deltas[-1]["seq"]

            for held in range(last + 1):
                live = live_of(await client.join(room.id, joined, **{message: [1, held]}), run)
                assert (live["from"], live["seq"]) == (held + 1, last)
                assert live["text"] == streamed(deltas[held + 1 :])
            stale = live_of(await client.join(room.id, joined, **{message: [7, 0]}), run)
            assert (stale["from"], stale["text"]) == (0, streamed(deltas))


async def test_answer_without_text_has_seq_minus_one(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        await client.join(room.id)
        async with client.asking(room.id, "fault-hang") as run:
            started = await client.event("run.started", run)
            live = live_of(await client.join(room.id, started["seq"]), run)

        assert (live["from"], live["seq"], live["text"]) == (0, -1, "")
        assert live["message"] == started["run"]["answer"]


async def test_ended_and_foreign_answers_are_not_live(
    server: Server, owner: Person, room: PopulatedRoom, rooms: list[PopulatedRoom]
) -> None:
    other = rooms[0]
    async with server.client(owner) as client, server.client(other.members[0]) as elsewhere:
        await client.join(room.id)
        await elsewhere.join(other.id)
        async with elsewhere.asking(other.id, "fault-hang-after-3") as hanging:
            answer = (await elsewhere.event("run.started", hanging))["run"]["answer"]
            ended = await client.ended(await client.ask(room.id, "echo"))
            held = {answer: [1, 0], ended["run"]["answer"]: [1, 0], UNKNOWN_ID: [1, 0]}
            snapshot = await client.join(room.id, ended["seq"], **held)

        assert snapshot["live"] == []


def posted(room: str) -> str:
    """Return a `message.send` command that no persona answers."""
    return (
        f'{{"type":"message.send","ref":"said","room":"{room}","client_id":"{uuid4()}",'
        '"text":"hello","reply_to":null,"personas":[]}'
    )
