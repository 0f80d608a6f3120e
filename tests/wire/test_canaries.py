"""The oracle: what is said in one room is looked for in all that everybody else receives."""

from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from tests.live import PopulatedRoom
from tests.wire.house import NOWHERE, House, Ledger, Tab, fresh
from tests.wire.shapes import check_frame


def canary(room: PopulatedRoom) -> str:
    return f"CANARY-{room.id[-12:]}"


def heard(ledger: Ledger, word: str) -> set[str]:
    """Return the tokens that have received this word."""
    looked_for = word.encode()
    return {token for token, parts in ledger.heard.items() if any(looked_for in p for p in parts)}


async def try_everything(tab: Tab, room: PopulatedRoom, message: str) -> None:
    """Ask for a room, and for a message and a run in it, in every way that there is."""
    said = {"room": room.id, "client_id": fresh(), "text": "let me in"}
    for kind, fields in (
        ("room.join", {"room": room.id, "after": 0, "live": {message: [1, 0]}}),
        ("room.join", {"room": room.id, "after": None, "live": {}}),
        ("message.send", {**said, "reply_to": message, "personas": None}),
        ("message.send", {**said, "reply_to": None, "personas": [NOWHERE]}),
        ("room.leave", {"room": room.id}),
        ("message.edit", {"message": message, "text": "mine"}),
        ("message.delete", {"message": message}),
        ("message.react", {"message": message, "emoji": "👍", "on": True}),
        ("run.cancel", {"run": message}),
        ("run.retry", {"run": message}),
    ):
        assert await tab.refused(kind, **fields) == "not_found"
    await tab.tell({"type": "room.read", "room": room.id, "seq": 1})
    await tab.tell({"type": "member.type", "room": room.id})
    await tab.everything_so_far()


def ask_for_everything(house: House, token: str, room: PopulatedRoom, message: str) -> None:
    """The same by REST."""
    for part in ("", "/members", "/messages", "/events?after=0", "/stream?after=0"):
        assert house.ask("GET", f"/rooms/{room.id}{part}", token).status == 404
    assert house.ask("GET", f"/messages/{message}", token).status == 404
    for path in ("/me", "/me/tokens", f"/teams/{room.team}/rooms"):
        house.ask("GET", path, token)


async def join_all(stack: AsyncExitStack, house: House, room: PopulatedRoom) -> list[Tab]:
    """Open a tab for each member of a room, and join."""
    tabs = [await stack.enter_async_context(house.tab(person)) for person in room.members]
    for tab in tabs:
        await tab.join(room.id)
    return tabs


async def talk(house: House, room: PopulatedRoom, tabs: list[Tab]) -> tuple[str, str]:
    """Put the canary into the topic, a message and an answer; return message and run."""
    word = canary(room)
    house.ask("PATCH", f"/rooms/{room.id}", room.members[0], {"topic": f"{word}-topic"})
    message = (await tabs[0].send(room.id, f"Say {word}"))["message"]
    return message, await tabs[1].ask(room.id, "canary", word)


async def pry(house: House, away: PopulatedRoom, tab: Tab, said: dict[str, str]) -> None:
    """As a member of another room, ask for each of these rooms and messages."""
    for room, message in said.items():
        there = PopulatedRoom(room, away.team, [])
        await try_everything(tab, there, message)
        ask_for_everything(house, away.members[0].token, there, message)


async def test_what_is_said_in_a_room_reaches_nobody_else(
    house: House, rooms: list[PopulatedRoom], foreign: PopulatedRoom
) -> None:
    async with AsyncExitStack() as stack:
        tabs = {room.id: await join_all(stack, house, room) for room in [*rooms, foreign]}
        talks = {room.id: await talk(house, room, tabs[room.id]) for room in rooms}
        said = {room: message for room, (message, _) in talks.items()}
        for away in [*rooms, foreign]:
            others = {room: message for room, message in said.items() if room != away.id}
            await pry(house, away, tabs[away.id][0], others)
        for talked, (_, run) in talks.items():
            for tab in tabs[talked]:
                assert (await tab.ended(run))["type"] == "run.completed"

    for room in rooms:
        insiders = {person.token for person in room.members}
        for word in (canary(room), f"{canary(room)}:39", room.id):
            assert heard(house.ledger, word) == insiders
    assert house.ledger.leaks() == []


def test_the_oracle_sees_a_leak() -> None:
    """The control: one frame of a room to somebody who has never been in it."""
    room, word = str(uuid4()), "CANARY-1"
    ledger = Ledger()
    ledger.insiders[room] = {"inside"}
    ledger.note("inside", f'{{"room":"{room}","text":"{word}"}}'.encode())
    assert (ledger.leaks(), heard(ledger, word)) == ([], {"inside"})

    ledger.note("outside", f'{{"room":"{room}","text":"{word}"}}'.encode())
    assert len(ledger.leaks()) == 1
    assert heard(ledger, word) == {"inside", "outside"}


def test_the_form_of_frames_is_really_looked_at() -> None:
    """The control: a key too many, a key too few, a wrong id and a wrong time are each seen."""
    good = {"type": "presence", "room": NOWHERE, "user": NOWHERE, "online": True}
    check_frame(good)
    for bad in (
        {**good, "more": 1},
        {key: value for key, value in good.items() if key != "online"},
        {**good, "user": NOWHERE.replace("7", "A")},
        {**good, "online": 1},
        {**good, "type": "presense"},
    ):
        with pytest.raises(AssertionError):
            check_frame(bad)
