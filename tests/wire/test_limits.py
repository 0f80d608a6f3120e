"""Rate limits as clients meet them: a refusal that says how long to wait, on every way in."""

import asyncio
from collections.abc import Iterator

import pytest

from accounts.rate_limits import LIMITS
from tests.live import Frame, LimitedInstallation, PopulatedRoom
from tests.server import RATE_LIMIT_SECONDS
from tests.wire.house import House, Tab, fresh
from tests.wire.listening import listening


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server of its own, whose limits are on."""
    folder = tmp_path_factory.mktemp("limited")
    limits = {RATE_LIMIT_SECONDS: 3_600}  # no window ends during a test
    with LimitedInstallation(folder, limits, MARU_RATE_LIMITS="on") as installation:
        yield House(installation, None)  # type: ignore[arg-type]  # its personas ask nobody


@pytest.fixture
def room(limited: House) -> PopulatedRoom:
    """A room that nothing was counted of yet."""
    return limited.populate(1, 2)[0]


def words(room: PopulatedRoom) -> Frame:
    blank: Frame = {"text": "x", "reply_to": None, "personas": []}
    return {**blank, "room": room.id, "client_id": fresh()}


async def send(tab: Tab, room: PopulatedRoom) -> str:
    said: Frame = {
        "room": room.id,
        "client_id": fresh(),
        "text": "x",
        "reply_to": None,
        "personas": [],
    }
    answer = await tab.command("message.send", **said)
    if answer["type"] == "command.refused":
        assert answer["retry_after"] >= 1
    return str(answer.get("code"))


async def test_who_says_too_much_is_told_to_wait(limited: House, room: PopulatedRoom) -> None:
    most = LIMITS["send", "user"].max_count
    owner, member = room.members
    async with limited.tab(owner) as tab, limited.tab(member) as other:
        codes = [await send(tab, room) for _ in range(most + 5)]
        others = await send(other, room)
    path = f"/rooms/{room.id}/messages"

    assert codes == ["None"] * most + ["rate_limited"] * 5
    assert others == "None"
    said = limited.ask("GET", f"{path}?limit=200", owner).body["items"]
    assert len(said) == most + 1
    refused = limited.ask("POST", path, owner, {"text": "by another way"})
    assert (refused.status, refused.code) == (429, "rate_limited")


async def test_message_that_came_through_may_be_sent_again(
    limited: House, room: PopulatedRoom
) -> None:
    owner = room.members[0]
    said: Frame = {
        "room": room.id,
        "client_id": fresh(),
        "text": "x",
        "reply_to": None,
        "personas": [],
    }
    async with limited.tab(owner) as tab:
        first = await tab.command("message.send", **said)
        for _ in range(LIMITS["send", "user"].max_count):
            await send(tab, room)
        again = await tab.command("message.send", **said)

    assert again["result"] == first["result"]


async def test_token_that_calls_too_often_is_told_to_wait_and_no_other(
    limited: House, room: PopulatedRoom
) -> None:
    owner, member = room.members
    most = LIMITS["call", "token"].max_count
    calls = [asyncio.to_thread(limited.ask, "GET", "/me", owner) for _ in range(most + 10)]
    answers = await asyncio.gather(*calls)

    assert [answer.status for answer in answers].count(200) == most
    assert {answer.code for answer in answers if answer.status != 200} == {"rate_limited"}
    assert limited.ask("GET", "/me", member).status == 200
    async with listening(limited.installation, room.id, owner.token) as ear:
        assert ear.status == 429
        assert int(ear.headers["retry-after"]) >= 1
