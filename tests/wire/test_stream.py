"""The event log of a room by REST pages and by event stream."""

import asyncio
from pathlib import Path

import pytest

from tests.deadlines import REVOCATION
from tests.live import Frame, Installation, Person, PopulatedRoom
from tests.wire.event_stream import event_stream
from tests.wire.server import UNKNOWN_ID, Server, streamed
from tests.wire.shapes import check_frame


def durable(event: Frame) -> bool:
    return "seq" in event and event["type"] != "message.delta"


async def test_event_log_is_paginated_oldest_first(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        for number in range(5):
            last = (await client.send(room.id, f"message {number}"))["seq"]
    path = f"/rooms/{room.id}/events"
    whole = server.request("GET", f"{path}?after=0", owner).body
    paged, cursor = [], ""
    while cursor is not None:
        page = server.request("GET", f"{path}?limit=3{cursor and f'&cursor={cursor}'}", owner).body
        paged += page["items"]
        cursor = page["next"]

    for event in whole["items"]:
        check_frame(event)
    assert [event["seq"] for event in whole["items"]] == list(range(1, last + 1))
    assert whole["next"] is None
    assert paged == whole["items"]
    assert server.request("GET", f"{path}?after={last}", owner).body == {"items": [], "next": None}
    assert server.request("GET", f"{path}?after={last + 1}", owner).code == "conflict"
    assert server.request("GET", f"{path}?after=-1", owner).code == "invalid"


async def test_stream_sends_the_log_and_then_new_events(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with (
        server.client(owner) as client,
        event_stream(server.installation, room.id, owner.token) as stream,
    ):
        await client.join(room.id)
        sent = await client.send(room.id, "들려요?", personas=[client.personas["echo"]])
        run = sent["runs"][0]
        ended = await stream.until(lambda e: e["type"] == "run.completed" and e["run"]["id"] == run)
        delivered = await stream.until(
            lambda e: e["type"] == "message.completed" and e["message"]["run"] == run
        )

    for event in stream.events:
        check_frame(event)
    assert stream.status == 200
    assert stream.headers["cache-control"] == "private, no-store"
    assert stream.headers["connection"] == "close"
    seqs = [event["seq"] for event in stream.events if durable(event)]
    assert seqs == list(range(1, ended["seq"] + 1))
    assert [n for n in stream.ids if n is not None] == seqs
    deltas = [e for e in stream.events if e["type"] == "message.delta" and e["run"] == run]
    assert streamed(deltas).rstrip() == delivered["message"]["text"]
    assert [delta["seq"] for delta in deltas] == list(range(len(deltas)))
    assert stream.heartbeats


async def test_stream_resumes_after_last_event_id(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        first = (await client.send(room.id, "first"))["seq"]
        second = (await client.send(room.id, "second"))["seq"]
    async with event_stream(
        server.installation, room.id, owner.token, Last_Event_ID=str(first)
    ) as stream:
        event = await stream.until_type("message.created")

    assert second == first + 1
    assert event["seq"] == second


async def test_stream_opened_during_an_answer_has_all_its_deltas(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with server.client(owner) as client:
        await client.join(room.id)
        run = await client.ask(room.id, "held-12@15")
        await client.event("message.delta", run)
        seq = (await client.event("run.started", run))["seq"]
        async with event_stream(
            server.installation, room.id, owner.token, f"?after={seq}"
        ) as stream:
            await stream.until_type("message.delta")
            server.provider.release()
            delivered = await stream.until_type("message.completed")

    deltas = [e for e in stream.events if e["type"] == "message.delta"]
    assert [delta["seq"] for delta in deltas] == list(range(len(deltas)))
    assert streamed(deltas).rstrip() == delivered["message"]["text"]


async def test_stream_of_a_removed_member_ends(
    server: Server, rooms: list[PopulatedRoom], room: PopulatedRoom, owner: Person
) -> None:
    person = rooms[2].members[2]
    server.allow(room, person)
    path = f"/rooms/{room.id}/members/{person.user}"
    server.request("PUT", path, owner, {"role": "member"})
    async with event_stream(server.installation, room.id, person.token) as stream:
        await stream.until_type("member.added")
        server.request("DELETE", path, owner)
        await stream.until_end(seconds=REVOCATION)
    async with server.client(owner) as client:
        await client.send(room.id, "among ourselves")

    assert stream.events[-1] == {"type": "room.removed", "room": room.id}
    assert server.request("GET", f"/rooms/{room.id}/events", person).status == 404


async def test_revoked_token_ends_its_stream_only(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    ended, token = server.create_token(owner)
    async with (
        event_stream(server.installation, room.id, token) as revoked,
        event_stream(server.installation, room.id, owner.token) as kept,
        server.client(owner) as client,
    ):
        await revoked.until_type("member.added")
        await kept.until_type("member.added")
        server.request("DELETE", f"/me/tokens/{ended}", owner)
        await revoked.until_end(seconds=REVOCATION)
        sent = await client.send(room.id, "still here")
        await kept.until(lambda event: event.get("seq") == sent["seq"])

    assert sent["seq"] not in revoked.ids


async def test_stream_has_no_events_of_other_rooms(
    server: Server, rooms: list[PopulatedRoom], room: PopulatedRoom, owner: Person
) -> None:
    """On a WebSocket, messages of other rooms cause `room.activity`."""
    other, host = rooms[3], rooms[3].members[0]
    server.allow(other, owner)
    server.request("PUT", f"/rooms/{other.id}/members/{owner.user}", host, {"role": "member"})
    async with (
        event_stream(server.installation, room.id, owner.token) as stream,
        server.client(owner) as observer,
        server.client(host) as client,
        server.client(room.members[1]) as member,
    ):
        await stream.until_type("member.added")
        await client.send(other.id, "elsewhere")
        await observer.event("room.activity", room=other.id)
        last = await member.send(room.id, "here")
        await stream.until(lambda event: event.get("seq") == last["seq"])

    assert {event["room"] for event in stream.events} == {room.id}


@pytest.mark.parametrize("query", ["?after=-1", "?after=x", "?after=99999999999999999999"])
async def test_stream_refuses_invalid_parameters(
    server: Server, owner: Person, room: PopulatedRoom, query: str
) -> None:
    async with event_stream(server.installation, room.id, owner.token, query) as stream:
        assert stream.status == 400


async def test_stream_of_a_foreign_room_is_not_found(
    server: Server, room: PopulatedRoom, stranger: Person
) -> None:
    async with (
        event_stream(server.installation, room.id, stranger.token) as foreign,
        event_stream(server.installation, UNKNOWN_ID, stranger.token) as none,
    ):
        assert (foreign.status, foreign.body) == (none.status, none.body)
        assert foreign.status == 404


async def test_stream_ahead_of_the_log_is_a_conflict(
    server: Server, owner: Person, room: PopulatedRoom
) -> None:
    async with event_stream(server.installation, room.id, owner.token, "?after=100000") as stream:
        assert stream.status == 409


async def test_shutdown_ends_open_streams(tmp_path: Path) -> None:
    """An open response would delay the end until a timeout, which uvicorn logs as "graceful"."""
    with Installation(tmp_path) as installation:
        (room,) = installation.populate(1, 1)
        async with event_stream(installation, room.id, room.members[0].token) as stream:
            await stream.until_type("member.added")
            ending = asyncio.create_task(asyncio.to_thread(installation.stop))
            await stream.until_end()
            await ending

        assert stream.ended
        assert "graceful" not in installation.output
