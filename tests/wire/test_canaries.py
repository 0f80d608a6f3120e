"""Isolation: no frame or response to another user contains the text of a room."""

from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from tests.live import PopulatedRoom
from tests.wire.server import UNKNOWN_ID, DeliveryLog, Server, WireClient, new_client_id
from tests.wire.shapes import check_frame


def canary(room: PopulatedRoom) -> str:
    return f"CANARY-{room.id[-12:]}"


def receivers(deliveries: DeliveryLog, word: str) -> set[str]:
    """Return the tokens that received this word."""
    looked_for = word.encode()
    return {
        token for token, parts in deliveries.received.items() if any(looked_for in p for p in parts)
    }


async def send_every_command(client: WireClient, room: PopulatedRoom, message: str) -> None:
    """Request a room, a message and a run of it with every command."""
    posted = {"room": room.id, "client_id": new_client_id(), "text": "let me in"}
    for kind, fields in (
        ("room.join", {"room": room.id, "after": 0, "live": {message: [1, 0]}}),
        ("room.join", {"room": room.id, "after": None, "live": {}}),
        ("message.send", {**posted, "reply_to": message, "personas": None}),
        ("message.send", {**posted, "reply_to": None, "personas": [UNKNOWN_ID]}),
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


def send_every_request(server: Server, token: str, room: PopulatedRoom, message: str) -> None:
    """Request the same by REST."""
    for part in ("", "/members", "/messages", "/events?after=0", "/stream?after=0"):
        assert server.request("GET", f"/rooms/{room.id}{part}", token).status == 404
    assert server.request("GET", f"/messages/{message}", token).status == 404
    for path in ("/me", "/me/tokens", f"/teams/{room.team}/rooms"):
        server.request("GET", path, token)


async def join_all(stack: AsyncExitStack, server: Server, room: PopulatedRoom) -> list[WireClient]:
    """Connect each member of a room, and join."""
    clients = [await stack.enter_async_context(server.client(person)) for person in room.members]
    for client in clients:
        await client.join(room.id)
    return clients


async def exchange_messages(
    server: Server, room: PopulatedRoom, clients: list[WireClient]
) -> tuple[str, str]:
    """Put the canary into the topic, a message and an answer; return the ids of message and run."""
    word = canary(room)
    server.request("PATCH", f"/rooms/{room.id}", room.members[0], {"topic": f"{word}-topic"})
    message = (await clients[0].send(room.id, f"Say {word}"))["message"]
    return message, await clients[1].ask(room.id, "canary", word)


async def request_as_stranger(
    server: Server, away: PopulatedRoom, client: WireClient, posted: dict[str, str]
) -> None:
    """As a member of another room, request each of these rooms and messages."""
    for room, message in posted.items():
        foreign_room = PopulatedRoom(room, away.team, [])
        await send_every_command(client, foreign_room, message)
        send_every_request(server, away.members[0].token, foreign_room, message)


async def test_text_of_a_room_reaches_its_members_only(
    server: Server, rooms: list[PopulatedRoom], foreign: PopulatedRoom
) -> None:
    async with AsyncExitStack() as stack:
        clients = {room.id: await join_all(stack, server, room) for room in [*rooms, foreign]}
        exchanges = {
            room.id: await exchange_messages(server, room, clients[room.id]) for room in rooms
        }
        posted = {room: message for room, (message, _) in exchanges.items()}
        for away in [*rooms, foreign]:
            others = {room: message for room, message in posted.items() if room != away.id}
            await request_as_stranger(server, away, clients[away.id][0], others)
        for room_id, (_, run) in exchanges.items():
            for client in clients[room_id]:
                assert (await client.ended(run))["type"] == "run.completed"

    for room in rooms:
        members = {person.token for person in room.members}
        for word in (canary(room), f"{canary(room)}:39", room.id):
            assert receivers(server.deliveries, word) == members
    assert server.deliveries.leaks() == []


def test_delivery_log_detects_a_leak() -> None:
    """The control: one frame of a room is delivered to a user who was never its member."""
    room, word = str(uuid4()), "CANARY-1"
    deliveries = DeliveryLog()
    deliveries.members[room] = {"inside"}
    deliveries.record("inside", f'{{"room":"{room}","text":"{word}"}}'.encode())
    assert (deliveries.leaks(), receivers(deliveries, word)) == ([], {"inside"})

    deliveries.record("outside", f'{{"room":"{room}","text":"{word}"}}'.encode())
    assert len(deliveries.leaks()) == 1
    assert receivers(deliveries, word) == {"inside", "outside"}


def test_shape_check_detects_wrong_frames() -> None:
    """The control: an additional key, a missing key, a wrong id and wrong types are detected."""
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
