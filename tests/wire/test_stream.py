"""The log of a room, by page and live: what a program hears that only listens."""

import asyncio
from pathlib import Path

import pytest

from tests.deadlines import REVOCATION
from tests.live import Frame, Installation, Person, PopulatedRoom
from tests.wire.house import NOWHERE, House, streamed
from tests.wire.listening import listening
from tests.wire.shapes import check_frame


def durable(event: Frame) -> bool:
    return "seq" in event and event["type"] != "message.delta"


async def test_log_comes_oldest_first_and_page_by_page(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    async with house.tab(owner) as tab:
        for number in range(5):
            last = (await tab.send(room.id, f"message {number}"))["seq"]
    path = f"/rooms/{room.id}/events"
    whole = house.ask("GET", f"{path}?after=0", owner).body
    paged, cursor = [], ""
    while cursor is not None:
        page = house.ask("GET", f"{path}?limit=3{cursor and f'&cursor={cursor}'}", owner).body
        paged += page["items"]
        cursor = page["next"]

    for event in whole["items"]:
        check_frame(event)
    assert [event["seq"] for event in whole["items"]] == list(range(1, last + 1))
    assert whole["next"] is None
    assert paged == whole["items"]
    assert house.ask("GET", f"{path}?after={last}", owner).body == {"items": [], "next": None}
    assert house.ask("GET", f"{path}?after={last + 1}", owner).code == "conflict"
    assert house.ask("GET", f"{path}?after=-1", owner).code == "invalid"


async def test_stream_brings_the_log_and_then_what_happens(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    async with (
        house.tab(owner) as tab,
        listening(house.installation, room.id, owner.token) as ear,
    ):
        await tab.join(room.id)
        sent = await tab.send(room.id, "들려요?", personas=[tab.personas["echo"]])
        run = sent["runs"][0]
        ended = await ear.until(lambda e: e["type"] == "run.completed" and e["run"]["id"] == run)
        told = await ear.until(
            lambda e: e["type"] == "message.completed" and e["message"]["run"] == run
        )

    for event in ear.events:
        check_frame(event)
    assert ear.status == 200
    assert ear.headers["cache-control"] == "private, no-store"
    assert ear.headers["connection"] == "close"
    seqs = [event["seq"] for event in ear.events if durable(event)]
    assert seqs == list(range(1, ended["seq"] + 1))
    assert [n for n in ear.ids if n is not None] == seqs
    deltas = [e for e in ear.events if e["type"] == "message.delta" and e["run"] == run]
    assert streamed(deltas).rstrip() == told["message"]["text"]
    assert [delta["seq"] for delta in deltas] == list(range(len(deltas)))
    assert ear.beats


async def test_stream_goes_on_after_the_last_event_that_the_client_names(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    async with house.tab(owner) as tab:
        first = (await tab.send(room.id, "first"))["seq"]
        second = (await tab.send(room.id, "second"))["seq"]
    async with listening(house.installation, room.id, owner.token, Last_Event_ID=str(first)) as ear:
        event = await ear.until_type("message.created")

    assert second == first + 1
    assert event["seq"] == second


async def test_stream_in_mid_answer_has_all_of_its_deltas(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    async with house.tab(owner) as tab:
        await tab.join(room.id)
        run = await tab.ask(room.id, "held-12@15")
        await tab.event("message.delta", run)
        seq = (await tab.event("run.started", run))["seq"]
        async with listening(house.installation, room.id, owner.token, f"?after={seq}") as ear:
            await ear.until_type("message.delta")
            house.provider.release()
            told = await ear.until_type("message.completed")

    deltas = [e for e in ear.events if e["type"] == "message.delta"]
    assert [delta["seq"] for delta in deltas] == list(range(len(deltas)))
    assert streamed(deltas).rstrip() == told["message"]["text"]


async def test_removed_member_loses_the_stream(
    house: House, rooms: list[PopulatedRoom], room: PopulatedRoom, owner: Person
) -> None:
    person = rooms[2].members[2]
    house.expect_in(room, person)
    path = f"/rooms/{room.id}/members/{person.user}"
    house.ask("PUT", path, owner, {"role": "member"})
    async with listening(house.installation, room.id, person.token) as ear:
        await ear.until_type("member.added")
        house.ask("DELETE", path, owner)
        await ear.until_end(seconds=REVOCATION)
    async with house.tab(owner) as tab:
        await tab.send(room.id, "among ourselves")

    assert ear.events[-1] == {"type": "room.removed", "room": room.id}
    assert house.ask("GET", f"/rooms/{room.id}/events", person).status == 404


async def test_ended_token_ends_its_stream_and_no_other(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    ended, token = house.token_of(owner)
    async with (
        listening(house.installation, room.id, token) as gone,
        listening(house.installation, room.id, owner.token) as kept,
        house.tab(owner) as tab,
    ):
        await gone.until_type("member.added")
        await kept.until_type("member.added")
        house.ask("DELETE", f"/me/tokens/{ended}", owner)
        await gone.until_end(seconds=REVOCATION)
        sent = await tab.send(room.id, "still here")
        await kept.until(lambda event: event.get("seq") == sent["seq"])

    assert sent["seq"] not in gone.ids


async def test_stream_tells_of_no_other_room(
    house: House, rooms: list[PopulatedRoom], room: PopulatedRoom, owner: Person
) -> None:
    """On a socket, what is said elsewhere shows as `room.activity`."""
    other, host = rooms[3], rooms[3].members[0]
    house.expect_in(other, owner)
    house.ask("PUT", f"/rooms/{other.id}/members/{owner.user}", host, {"role": "member"})
    async with (
        listening(house.installation, room.id, owner.token) as ear,
        house.tab(owner) as witness,
        house.tab(host) as tab,
        house.tab(room.members[1]) as member,
    ):
        await ear.until_type("member.added")
        await tab.send(other.id, "elsewhere")
        await witness.event("room.activity", room=other.id)
        last = await member.send(room.id, "here")
        await ear.until(lambda event: event.get("seq") == last["seq"])

    assert {event["room"] for event in ear.events} == {room.id}


@pytest.mark.parametrize("query", ["?after=-1", "?after=x", "?after=99999999999999999999"])
async def test_stream_refuses_nonsense(
    house: House, owner: Person, room: PopulatedRoom, query: str
) -> None:
    async with listening(house.installation, room.id, owner.token, query) as ear:
        assert ear.status == 400


async def test_stream_of_a_foreign_room_is_as_absent_as_one_of_none(
    house: House, room: PopulatedRoom, stranger: Person
) -> None:
    async with (
        listening(house.installation, room.id, stranger.token) as foreign,
        listening(house.installation, NOWHERE, stranger.token) as none,
    ):
        assert (foreign.status, foreign.body) == (none.status, none.body)
        assert foreign.status == 404


async def test_stream_ahead_of_the_room_is_told_to_begin_afresh(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    async with listening(house.installation, room.id, owner.token, "?after=100000") as ear:
        assert ear.status == 409


async def test_server_that_ends_waits_for_no_stream(tmp_path: Path) -> None:
    """Uvicorn waits for answers that are under way, and says so where it gives up."""
    with Installation(tmp_path) as installation:
        (room,) = installation.populate(1, 1)
        async with listening(installation, room.id, room.members[0].token) as ear:
            await ear.until_type("member.added")
            ending = asyncio.create_task(asyncio.to_thread(installation.stop))
            await ear.until_end()
            await ending

        assert ear.ended
        assert "graceful" not in installation.output
