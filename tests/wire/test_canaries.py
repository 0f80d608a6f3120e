"""The oracle: what is said in one room is looked for in all that everybody else receives."""

from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from tests.live import PopulatedRoom
from tests.wire.server import UNKNOWN_ID, DeliveryLog, Server, WireClient, new_client_id
from tests.wire.shapes import check_frame


def canary(room: PopulatedRoom) -> str:
    return f"CANARY-{room.id[-12:]}"


def heard(deliveries: DeliveryLog, word: str) -> set[str]:
    """Return the tokens that have received this word."""
    looked_for = word.encode()
    return {
        token for token, parts in deliveries.received.items() if any(looked_for in p for p in parts)
    }


async def try_everything(client: WireClient, room: PopulatedRoom, message: str) -> None:
    """Ask for a room, and for a message and a run in it, in every way that there is."""
    said = {"room": room.id, "client_id": new_client_id(), "text": "let me in"}
    for kind, fields in (
        ("room.join", {"room": room.id, "after": 0, "live": {message: [1, 0]}}),
        ("room.join", {"room": room.id, "after": None, "live": {}}),
        ("message.send", {**said, "reply_to": message, "personas": None}),
        ("message.send", {**said, "reply_to": None, "personas": [UNKNOWN_ID]}),
        ("room.leave", {"room": room.id}),
        ("message.edit", {"message": message, "text": "mine"}),
        ("message.delete", {"message": message}),
        ("message.react", {"message": message, "emoji": "👍", "on": True}),
        ("run.cancel", {"run": message}),
        ("run.retry", {"run": message}),
    ):
        assert await client.refusal_code(kind, **fields) == "not_found"
    await client.send_raw({"type": "room.read", "room": room.id, "seq": 1})
    await client.send_raw({"type": "member.type", "room": room.id})
    await client.received_so_far()


def ask_for_everything(server: Server, token: str, room: PopulatedRoom, message: str) -> None:
    """The same by REST."""
    for part in ("", "/members", "/messages", "/events?after=0", "/stream?after=0"):
        assert server.request("GET", f"/rooms/{room.id}{part}", token).status == 404
    assert server.request("GET", f"/messages/{message}", token).status == 404
    for path in ("/me", "/me/tokens", f"/teams/{room.team}/rooms"):
        server.request("GET", path, token)


async def join_all(stack: AsyncExitStack, server: Server, room: PopulatedRoom) -> list[WireClient]:
    """Open a client for each member of a room, and join."""
    clients = [await stack.enter_async_context(server.client(person)) for person in room.members]
    for client in clients:
        await client.join(room.id)
    return clients


async def talk(server: Server, room: PopulatedRoom, clients: list[WireClient]) -> tuple[str, str]:
    """Put the canary into the topic, a message and an answer; return message and run."""
    word = canary(room)
    server.request("PATCH", f"/rooms/{room.id}", room.members[0], {"topic": f"{word}-topic"})
    message = (await clients[0].send(room.id, f"Say {word}"))["message"]
    return message, await clients[1].ask(room.id, "canary", word)


async def pry(
    server: Server, away: PopulatedRoom, client: WireClient, said: dict[str, str]
) -> None:
    """As a member of another room, ask for each of these rooms and messages."""
    for room, message in said.items():
        there = PopulatedRoom(room, away.team, [])
        await try_everything(client, there, message)
        ask_for_everything(server, away.members[0].token, there, message)


async def test_what_is_said_in_a_room_reaches_nobody_else(
    server: Server, rooms: list[PopulatedRoom], foreign: PopulatedRoom
) -> None:
    async with AsyncExitStack() as stack:
        clients = {room.id: await join_all(stack, server, room) for room in [*rooms, foreign]}
        talks = {room.id: await talk(server, room, clients[room.id]) for room in rooms}
        said = {room: message for room, (message, _) in talks.items()}
        for away in [*rooms, foreign]:
            others = {room: message for room, message in said.items() if room != away.id}
            await pry(server, away, clients[away.id][0], others)
        for talked, (_, run) in talks.items():
            for client in clients[talked]:
                assert (await client.ended(run))["type"] == "run.completed"

    for room in rooms:
        insiders = {person.token for person in room.members}
        for word in (canary(room), f"{canary(room)}:39", room.id):
            assert heard(server.deliveries, word) == insiders
    assert server.deliveries.leaks() == []


def test_the_oracle_sees_a_leak() -> None:
    """The control: one frame of a room to somebody who has never been in it."""
    room, word = str(uuid4()), "CANARY-1"
    deliveries = DeliveryLog()
    deliveries.members[room] = {"inside"}
    deliveries.record("inside", f'{{"room":"{room}","text":"{word}"}}'.encode())
    assert (deliveries.leaks(), heard(deliveries, word)) == ([], {"inside"})

    deliveries.record("outside", f'{{"room":"{room}","text":"{word}"}}'.encode())
    assert len(deliveries.leaks()) == 1
    assert heard(deliveries, word) == {"inside", "outside"}


def test_the_form_of_frames_is_really_looked_at() -> None:
    """The control: a key too many, a key too few, a wrong id and a wrong time are each seen."""
    good = {"type": "presence", "room": UNKNOWN_ID, "user": UNKNOWN_ID, "online": True}
    check_frame(good)
    for bad in (
        {**good, "more": 1},
        {key: value for key, value in good.items() if key != "online"},
        {**good, "user": UNKNOWN_ID.replace("7", "A")},
        {**good, "online": 1},
        {**good, "type": "presense"},
    ):
        with pytest.raises(AssertionError):
            check_frame(bad)
