"""Rounds as clients see them: events, the plan in its message, cancelling and skipping."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from tests.live import Frame, Person, PopulatedRoom
from tests.wire.server import Server, WireClient
from tests.wire.shapes import ROUND, check

FIRST, SECOND, BROKEN = "tokens-60@200", "echo", "fault-401"


@pytest.fixture
async def client(server: Server, owner: Person, room: PopulatedRoom) -> AsyncIterator[WireClient]:
    async with server.client(owner) as opened:
        await opened.join(room.id)
        yield opened


async def begin(client: WireClient, room: PopulatedRoom, *models: str) -> Frame:
    """Ask the personas of these models in turn; return the round as it begins."""
    asked = [client.personas[model] for model in models]
    sent = await client.send(room.id, "go", personas=asked, in_turn=True)
    assert len(sent["runs"]) == 1
    return await until(client, sent["message"], "running")


async def until(client: WireClient, message: str, state: str) -> Frame:
    """Return the first received plan of a message's round with this state."""
    event = await client.find(
        lambda frame: (
            frame["type"] == "round.changed"
            and (frame["round"]["message"], frame["round"]["state"]) == (message, state)
        )
    )
    check(ROUND, event["round"])
    plan: Frame = event["round"]
    return plan


def states(plan: Frame) -> list[str]:
    return [step["state"] for step in plan["steps"]]


async def test_events_follow_a_round_from_its_begin_to_its_end(
    server: Server, client: WireClient, owner: Person, room: PopulatedRoom
) -> None:
    begun = await begin(client, room, FIRST, SECOND)
    assert states(begun) == ["running", "waiting"]

    done = await until(client, begun["message"], "completed")

    assert states(done) == ["completed", "completed"]
    message = server.request("GET", f"/messages/{begun['message']}", owner).body
    assert message["round"] == done
    assert server.request("GET", f"/rounds/{begun['id']}", owner).body == done
    answers = [server.request("GET", f"/runs/{step['run']}", owner).body for step in done["steps"]]
    assert [run["round"] for run in answers] == [begun["id"]] * 2


async def test_round_that_has_paused_is_skipped_or_cancelled(
    server: Server, client: WireClient, owner: Person, room: PopulatedRoom
) -> None:
    begun = await begin(client, room, BROKEN, SECOND)
    paused = await until(client, begun["message"], "paused")
    assert (states(paused), paused["steps"][0]["reason"]) == (
        ["failed", "waiting"],
        "key",
    )
    assert (await client.command("round.skip", round=begun["id"]))["type"] == "command.done"
    done = await until(client, begun["message"], "completed")
    assert states(done) == ["failed", "completed"]
    assert await client.refusal_code("round.skip", round=begun["id"]) == "conflict"

    again = await begin(client, room, BROKEN, SECOND)
    await until(client, again["message"], "paused")
    cancelled = server.request("POST", f"/rounds/{again['id']}/cancel", owner, {}).body

    assert (cancelled["state"], states(cancelled)) == ("cancelled", ["failed", "cancelled"])
    assert await client.refusal_code("round.cancel", round=str(uuid4())) == "not_found"
