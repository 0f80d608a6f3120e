"""Saying something: once, whole, to whom it may concern."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.live import Person, PopulatedRoom
from tests.wire.house import NOWHERE, House, Tab, fresh
from tests.wire.shapes import MESSAGE, check

LONGEST = 16_000


@pytest.fixture
async def tab(house: House, owner: Person, room: PopulatedRoom) -> AsyncIterator[Tab]:
    async with house.tab(owner) as opened:
        await opened.join(room.id)
        yield opened


async def policy(house: House, room: PopulatedRoom, **answers: str | None) -> None:
    done = house.ask("PATCH", f"/rooms/{room.id}", room.members[0], answers)
    assert done.status == 200, done.raw


async def who_answers(tab: Tab, room: str, text: str, **fields: object) -> list[str]:
    """Say something and return the names of the personas that answer it."""
    runs = (await tab.send(room, text, **{"personas": None, **fields}))["runs"]
    names = {persona: name for name, persona in tab.personas.items()}
    return [names[(await tab.ended(run))["run"]["persona"]] for run in runs]


async def test_result_comes_after_the_commit(
    house: House, tab: Tab, owner: Person, room: PopulatedRoom
) -> None:
    sent = await tab.send(room.id, "마루에 앉아 Ω 👩‍👩‍👧 <b>& \u202e")
    kept = house.ask("GET", f"/messages/{sent['message']}", owner)
    told = await tab.event("message.created", seq=sent["seq"])

    assert kept.status == 200
    check(MESSAGE, kept.body)
    assert kept.body == told["message"]
    assert kept.body["text"] == "마루에 앉아 Ω 👩‍👩‍👧 <b>& \u202e"
    assert kept.body["author"]["kind"] == "user"
    assert kept.body["author"]["id"] == owner.user
    assert (kept.body["status"], kept.body["run"]) == ("complete", None)
    assert sent["runs"] == []


async def test_same_client_id_is_one_message_and_one_answer(
    house: House, owner: Person, room: PopulatedRoom
) -> None:
    async with house.tab(owner) as one, house.tab(owner) as two:
        snapshot = await one.join(room.id)
        once: dict[str, object] = {"client_id": fresh(), "personas": [one.personas["echo"]]}
        answers = await asyncio.gather(*(repeat(tab, room.id, once, 25) for tab in (one, two)))
        late = await two.send(room.id, "said once", **once)
        (run,) = late["runs"]
        await one.ended(run)
        frames = await one.everything_so_far()

    assert all(answer == late for answers_of in answers for answer in answers_of)
    created = [frame for frame in frames if frame["type"] == "message.created"]
    assert [frame["message"]["run"] for frame in created] == [None, run]
    assert snapshot["seq"] < late["seq"]


async def repeat(tab: Tab, room: str, once: dict[str, object], times: int) -> list[object]:
    return [await tab.send(room, "said once", **once) for _ in range(times)]


async def test_same_client_id_by_socket_and_by_rest_is_one_message(
    house: House, tab: Tab, owner: Person, room: PopulatedRoom
) -> None:
    client_id = fresh()
    sent = await tab.send(room.id, "either way", client_id=client_id)
    body = {"text": "either way", "client_id": client_id, "personas": []}
    house.ask("POST", f"/rooms/{room.id}/messages", owner, body)
    newest = house.ask("GET", f"/rooms/{room.id}/messages?limit=1", owner).body["items"]

    assert newest[0]["id"] == sent["message"]


async def test_client_id_is_each_users_own_in_each_room(
    house: House, tab: Tab, member: Person, room: PopulatedRoom, rooms: list[PopulatedRoom]
) -> None:
    client_id = fresh()
    mine = await tab.send(room.id, "mine", client_id=client_id)
    async with house.tab(member) as other, house.tab(rooms[1].members[0]) as elsewhere:
        theirs = await other.send(room.id, "theirs", client_id=client_id)
        there = await elsewhere.send(rooms[1].id, "there", client_id=client_id)

    assert len({mine["message"], theirs["message"], there["message"]}) == 3


@pytest.mark.parametrize("letter", ["a", "마", "👍"])
async def test_message_may_have_sixteen_thousand_code_points(
    house: House, tab: Tab, owner: Person, room: PopulatedRoom, letter: str
) -> None:
    sent = await tab.send(room.id, letter * LONGEST)
    over = await tab.say(room.id, letter * (LONGEST + 1), personas=[])
    by_rest = house.ask(
        "POST", f"/rooms/{room.id}/messages", owner, {"text": letter * (LONGEST + 1)}
    )

    kept = house.ask("GET", f"/messages/{sent['message']}", owner)
    assert kept.body["text"] == letter * LONGEST
    assert over["code"] == "too_large"
    assert by_rest.code == "too_large"


async def test_text_that_cannot_be_kept_is_invalid(tab: Tab, room: PopulatedRoom) -> None:
    for text in ("", "   ", "\n\t"):
        assert await tab.refused("message.send", **words(room.id, text)) == "invalid"


async def test_lone_surrogate_is_invalid(tab: Tab, room: PopulatedRoom) -> None:
    await tab.tell(
        f'{{"type":"message.send","ref":"half","room":"{room.id}","client_id":"{fresh()}",'
        '"text":"\\ud800","reply_to":null,"personas":[]}'
    )

    answer = await tab.find(lambda frame: frame["type"] == "command.refused")
    assert answer["code"] == "invalid"


def words(room: str, text: str, **fields: object) -> dict[str, object]:
    blank: dict[str, object] = {"client_id": fresh(), "reply_to": None, "personas": []}
    return {"room": room, "text": text, **blank, **fields}


async def test_foreign_reply_or_persona_is_not_found_as_an_unknown_one_is(
    house: House, tab: Tab, room: PopulatedRoom, rooms: list[PopulatedRoom], foreign: PopulatedRoom
) -> None:
    async with house.tab(rooms[1].members[0]) as near, house.tab(foreign.members[0]) as far:
        there = (await near.send(rooms[1].id, "there"))["message"]
        yonder = (await far.send(foreign.id, "yonder"))["message"]
        (theirs,) = (await far.join(foreign.id))["state"]["personas"]
    unbound = tab.personas["fault-401"]
    house.ask("DELETE", f"/rooms/{room.id}/personas/{unbound}", room.members[0])

    wrong: list[dict[str, object]] = [{"reply_to": one} for one in (NOWHERE, there, yonder)]
    wrong += [{"personas": [one]} for one in (NOWHERE, theirs["id"], unbound)]
    wrong += [{"personas": [tab.personas["echo"], NOWHERE]}]
    answers = [await tab.command("message.send", **words(room.id, "x", **one)) for one in wrong]
    house.ask("PUT", f"/rooms/{room.id}/personas/{unbound}", room.members[0])

    assert {answer.get("code") for answer in answers} == {"not_found"}
    assert len({answer["detail"] for answer in answers}) == 1


async def test_reply_is_kept(house: House, tab: Tab, owner: Person, room: PopulatedRoom) -> None:
    first = (await tab.send(room.id, "first"))["message"]
    second = (await tab.send(room.id, "second", reply_to=first))["message"]

    assert house.ask("GET", f"/messages/{second}", owner).body["reply_to"] == first


async def test_existence_is_judged_before_the_text(
    house: House, rooms: list[PopulatedRoom], room: PopulatedRoom, stranger: Person
) -> None:
    reader = room.members[3]
    house.ask("PUT", f"/rooms/{room.id}/members/{reader.user}", room.members[0], {"role": "reader"})
    too_long = words(room.id, "x" * (LONGEST + 1), reply_to=NOWHERE)
    async with house.tab(stranger) as outside, house.tab(reader) as reading:
        assert await outside.refused("message.send", **too_long) == "not_found"
        assert await reading.refused("message.send", **too_long) == "forbidden"
        assert await reading.refused("message.send", **words(room.id, "hello")) == "forbidden"


async def test_everybody_sees_the_messages_of_many_in_one_order(
    house: House, rooms: list[PopulatedRoom]
) -> None:
    room = rooms[3]
    async with (
        house.tab(room.members[0]) as a,
        house.tab(room.members[1]) as b,
        house.tab(room.members[2]) as c,
    ):
        tabs = (a, b, c)
        for tab in tabs:
            await tab.join(room.id)
        sent = await asyncio.gather(*(say_many(tab, room.id, 15) for tab in tabs))
        for tab in tabs:
            await tab.event("message.created", seq=max(max(seqs) for seqs in sent))
        orders = [
            [(f["seq"], f["message"]["id"]) for f in tab.of_room(room.id) if "message" in f]
            for tab in tabs
        ]

    assert orders[0] == orders[1] == orders[2]
    assert orders[0] == sorted(orders[0])
    assert len(orders[0]) == 45
    assert all(seqs == sorted(seqs) for seqs in sent)


async def say_many(tab: Tab, room: str, times: int) -> list[int]:
    return [(await tab.send(room, f"message {n}"))["seq"] for n in range(times)]


async def test_by_default_the_default_persona_answers_unless_others_are_mentioned(
    house: House, room: PopulatedRoom, tab: Tab
) -> None:
    assert await who_answers(tab, room.id, "hello") == ["echo"]
    assert await who_answers(tab, room.id, "@canary hello") == ["canary"]
    assert sorted(await who_answers(tab, room.id, "@canary and @echo")) == ["canary", "echo"]
    assert await who_answers(tab, room.id, "hello", personas=[]) == []
    named = [tab.personas["canary"]]
    assert await who_answers(tab, room.id, "hello @echo", personas=named) == ["canary"]

    await policy(house, room, default_persona=tab.personas["canary"])
    assert await who_answers(tab, room.id, "hello") == ["canary"]
    await policy(house, room, default_persona=None)


async def test_answer_policies_say_who_answers(house: House, room: PopulatedRoom, tab: Tab) -> None:
    await policy(house, room, answer_policy="mention")
    assert await who_answers(tab, room.id, "hello") == []
    assert await who_answers(tab, room.id, "hello @echo") == ["echo"]

    await policy(house, room, answer_policy="thread")
    asked = await tab.send(room.id, "hello @echo", personas=None)
    answer = (await tab.ended(asked["runs"][0]))["run"]["answer"]
    assert await who_answers(tab, room.id, "and then?", reply_to=answer) == ["echo"]
    assert await who_answers(tab, room.id, "hello") == []

    await policy(house, room, answer_policy="off")
    assert await who_answers(tab, room.id, "hello @echo") == []
    await policy(house, room, answer_policy="default")
