"""Rate limits of commands, REST requests and streams: `rate_limited` with a time to wait."""

import asyncio
from collections.abc import Iterator

import pytest

from accounts.rate_limits import LIMITS
from tests.live import Frame, LimitedInstallation, PopulatedRoom
from tests.server import RATE_LIMIT_SECONDS
from tests.wire.event_stream import event_stream
from tests.wire.server import Response, Server, WireClient, new_client_id


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with rate limits."""
    folder = tmp_path_factory.mktemp("limited")
    limits = {RATE_LIMIT_SECONDS: 3_600}  # no window ends during a test
    with LimitedInstallation(folder, limits, MARU_RATE_LIMITS="on") as installation:
        yield Server(installation, None)  # type: ignore[arg-type]  # its personas use no provider


@pytest.fixture
def room(limited: Server) -> PopulatedRoom:
    """A new room: no rate limit has counted it yet."""
    return limited.populate(1, 2)[0]


def message_fields(room: PopulatedRoom) -> Frame:
    """Return the fields of `message.send` for a new message that asks no persona."""
    message: Frame = {"text": "x", "reply_to": None, "personas": []}
    return {**message, "room": room.id, "client_id": new_client_id()}


async def send(client: WireClient, room: PopulatedRoom) -> str:
    answer = await client.command("message.send", **message_fields(room))
    if answer["type"] == "command.refused":
        assert answer["retry_after"] >= 1
    return str(answer.get("code"))


async def test_sender_above_the_limit_is_refused(limited: Server, room: PopulatedRoom) -> None:
    most = LIMITS["send", "user"].max_count
    owner, member = room.members
    async with limited.client(owner) as client, limited.client(member) as other:
        codes = [await send(client, room) for _ in range(most + 5)]
        others = await send(other, room)
    path = f"/rooms/{room.id}/messages"

    assert codes == ["None"] * most + ["rate_limited"] * 5
    assert others == "None"
    posted = limited.request("GET", f"{path}?limit=200", owner).body["items"]
    assert len(posted) == most + 1
    refused = limited.request("POST", path, owner, {"text": "by another way"})
    assert (refused.status, refused.code) == (429, "rate_limited")


def rate_limits(answer: Response) -> dict[str, dict[str, int]]:
    """Return the parameters of each policy in RateLimit and RateLimit-Policy, by its name."""
    found: dict[str, dict[str, int]] = {}
    for header in ("ratelimit", "ratelimit-policy"):
        for item in answer.headers[header].split(", "):
            name, *parameters = item.split(";")
            values = found.setdefault(name, {})
            values |= {key: int(value) for key, value in (each.split("=") for each in parameters)}
    return found


def test_responses_tell_what_is_left_of_each_limit(limited: Server, room: PopulatedRoom) -> None:
    owner, path = room.members[0], f"/rooms/{room.id}/messages"
    call, most = LIMITS["call", "token"].max_count, LIMITS["send", "user"].max_count

    first, second = (limited.request("GET", "/me", owner) for _ in range(2))
    posted = [limited.request("POST", path, owner, {"text": "x"}) for _ in range(most + 1)]
    unknown = limited.request("GET", "/nothing", owner)

    assert {*rate_limits(first)} == {'"default"'}
    left = rate_limits(first)['"default"']
    assert left | {"t": 0} == {"q": call, "w": 3_600, "r": call - 1, "t": 0}
    assert 0 < left["t"] <= 3_600
    assert rate_limits(second)['"default"']["r"] == call - 2
    assert rate_limits(posted[0])['"send"']["r"] == most - 1
    assert (posted[-1].status, rate_limits(posted[-1])['"send"']["r"]) == (429, 0)
    assert int(posted[-1].headers["retry-after"]) <= rate_limits(posted[-1])['"send"']["t"]
    assert rate_limits(unknown)['"default"']["r"] < call - most
    assert "ratelimit" not in limited.request("GET", "/wire.json", owner).headers


async def test_repeated_message_is_accepted_above_the_limit(
    limited: Server, room: PopulatedRoom
) -> None:
    owner = room.members[0]
    posted = message_fields(room)
    async with limited.client(owner) as client:
        first = await client.command("message.send", **posted)
        for _ in range(LIMITS["send", "user"].max_count):
            await send(client, room)
        again = await client.command("message.send", **posted)

    assert again["result"] == first["result"]


async def test_request_limit_applies_to_one_token(limited: Server, room: PopulatedRoom) -> None:
    owner, member = room.members
    most = LIMITS["call", "token"].max_count
    calls = [asyncio.to_thread(limited.request, "GET", "/me", owner) for _ in range(most + 10)]
    answers = await asyncio.gather(*calls)

    assert [answer.status for answer in answers].count(200) == most
    assert {answer.code for answer in answers if answer.status != 200} == {"rate_limited"}
    assert limited.request("GET", "/me", member).status == 200
    async with event_stream(limited.installation, room.id, owner.token) as stream:
        assert stream.status == 429
        assert int(stream.headers["retry-after"]) >= 1
