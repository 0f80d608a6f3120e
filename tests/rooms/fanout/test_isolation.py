"""Events of a room reach its members only, also under load and after failures."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosed

from tests.live import Frame, Installation, PopulatedRoom, Socket
from tests.provider import Provider, running

ROOMS = 50
CANARY_PARTS = 40


@dataclass
class Faults:
    """Faults counted over all sockets, and deliveries; each fault must be zero."""

    foreign: int = 0
    reordered: int = 0
    missing: int = 0
    delivered: int = 0
    seen: set[str] = field(default_factory=set)


def count(frames: list[Frame], canary: str, totals: Faults) -> None:
    """Compare what one socket received with the canary of its own room."""
    deltas = [frame for frame in frames if frame["type"] == "message.delta"]
    text = "".join(delta["text"] for delta in deltas)
    words = text.split()
    totals.delivered += len(deltas)
    totals.foreign += sum(not word.startswith(f"{canary}:") for word in words)
    numbers = [int(word.rpartition(":")[2]) for word in words if word.startswith(f"{canary}:")]
    totals.reordered += sum(a >= b for a, b in pairwise(numbers))
    totals.reordered += [delta["seq"] for delta in deltas] != list(range(len(deltas)))
    totals.missing += CANARY_PARTS - len(set(numbers))
    totals.seen.add(canary)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def busy(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose personas answer through CrewAI from the stub provider."""
    folder = tmp_path_factory.mktemp("busy")
    with Installation(
        folder, MARU_EGRESS_ALLOW=provider.address, MARU_RUN_CONCURRENCY="50"
    ) as started:
        yield started


@pytest.fixture(scope="module")
def canary_rooms(busy: Installation, provider: Provider) -> list[PopulatedRoom]:
    return busy.populate(ROOMS, 2, "--provider", provider.base_url, "--model", "canary")


async def ask(socket: Socket, room: PopulatedRoom, canary: str) -> None:
    await socket.say(room.id, f"Say {canary}")


async def test_fifty_runs_at_once_do_not_mix(
    busy: Installation, canary_rooms: list[PopulatedRoom]
) -> None:
    canaries = {room.id: f"CANARY-{uuid4().hex}" for room in canary_rooms}
    totals = Faults()
    async with AsyncExitStack() as stack:
        sockets: dict[str, list[Socket]] = {}
        for room in canary_rooms:
            sockets[room.id] = [
                await stack.enter_async_context(busy.socket(person)) for person in room.members
            ]
            for socket in sockets[room.id]:
                await socket.join(room.id)
        await asyncio.gather(
            *(ask(sockets[room.id][0], room, canaries[room.id]) for room in canary_rooms)
        )
        await asyncio.gather(
            *(
                socket.until_type("run.completed", 60)
                for members in sockets.values()
                for socket in members
            )
        )
    for room_id, members in sockets.items():
        for socket in members:
            count(socket.frames, canaries[room_id], totals)

    assert (totals.foreign, totals.reordered, totals.missing) == (0, 0, 0)
    assert len(totals.seen) == ROOMS
    assert totals.delivered >= 2 * ROOMS


def test_count_detects_each_fault() -> None:
    """The control: foreign text, swapped deltas and dropped deltas are counted."""
    own, foreign = "CANARY-own", "CANARY-foreign"

    def stream(canary: str) -> list[Frame]:
        return [
            {"type": "message.delta", "seq": n, "text": f"{canary}:{n} "}
            for n in range(CANARY_PARTS)
        ]

    clean, crossed, swapped, dropped = Faults(), Faults(), Faults(), Faults()
    count(stream(own), own, clean)
    count([*stream(own), stream(foreign)[0]], own, crossed)
    count([*stream(own)[:5], stream(own)[6], stream(own)[5], *stream(own)[7:]], own, swapped)
    count(stream(own)[:-1], own, dropped)

    assert (clean.foreign, clean.reordered, clean.missing) == (0, 0, 0)
    assert crossed.foreign == 1
    assert swapped.reordered > 0
    assert dropped.missing == 1


async def test_removed_member_receives_no_further_deltas(
    busy: Installation, provider: Provider
) -> None:
    (room,) = busy.populate(1, 3, "--provider", provider.base_url, "--model", "tokens-150@50")
    owner, removed, remaining = room.members
    async with (
        busy.socket(owner) as mine,
        busy.socket(removed) as theirs,
        busy.socket(remaining) as others,
    ):
        for socket in (mine, theirs, others):
            await socket.join(room.id)
        await mine.say(room.id, "go on")
        await theirs.until_type("message.delta")

        status, _ = await asyncio.to_thread(
            busy.request, "DELETE", f"/rooms/{room.id}/members/{removed.user}", owner.token
        )
        await theirs.until_type("room.removed")
        at = len(theirs.frames)
        await others.until_type("run.completed")
        refused = await theirs.join(room.id)

        assert status == 204
        assert [frame["type"] for frame in theirs.frames[at:]] == ["command.refused"]
        assert refused["code"] == "not_found"
        assert not theirs.of_type("message.completed", "member.removed")
        # The control: the others received further deltas.
        assert len(others.of_type("message.delta")) > len(theirs.of_type("message.delta"))


async def test_stranger_who_knows_all_ids_receives_nothing(
    busy: Installation, provider: Provider
) -> None:
    (room,) = busy.populate(1, 1, "--provider", provider.base_url, "--model", "tokens-100@50")
    (other,) = busy.populate(1, 1)
    stranger = other.members[0]
    async with busy.socket(room.members[0]) as mine, busy.socket(stranger) as theirs:
        await mine.join(room.id)
        sent = (await mine.say(room.id, "a secret"))["result"]
        await mine.until_type("message.delta")
        responses = [
            await theirs.command("room.join", room=room.id, after=0, live={}),
            await theirs.say(room.id, "let me in"),
            await theirs.say(other.id, "steal", reply_to=sent["message"]),
            await theirs.command("run.cancel", run=sent["runs"][0]),
            await theirs.command("run.retry", run=sent["runs"][0]),
        ]
        await mine.until_type("run.completed")
        received = await theirs.received_so_far()

    assert [answer["code"] for answer in responses] == ["not_found"] * len(responses)
    assert {frame["type"] for frame in received} == {"command.refused", "command.done"}
    assert "secret" not in str(received)


PATHS = [
    ("GET", "/rooms/{room}", None),
    ("PATCH", "/rooms/{room}", {"name": "mine"}),
    ("GET", "/rooms/{room}/members", None),
    ("PUT", "/rooms/{room}/members/{user}", {"role": "owner"}),
    ("DELETE", "/rooms/{room}/members/{user}", None),
    ("PUT", "/rooms/{room}/personas/{persona}", None),
    ("DELETE", "/rooms/{room}/personas/{persona}", None),
    ("GET", "/rooms/{room}/messages", None),
    ("POST", "/rooms/{room}/messages", {"text": "hi"}),
    ("GET", "/messages/{message}", None),
    ("GET", "/runs/{run}", None),
    ("POST", "/runs/{run}/cancel", None),
    ("POST", "/runs/{run}/retry", None),
    ("GET", "/teams/{team}/rooms", None),
    ("POST", "/teams/{team}/rooms", {"name": "mine"}),
]


async def known_ids(busy: Installation, room: PopulatedRoom) -> dict[str, str]:
    async with busy.socket(room.members[0]) as mine:
        state = (await mine.join(room.id))["state"]
        sent = (await mine.say(room.id, "CANARY-secret"))["result"]
    return {
        "room": room.id,
        "team": room.team,
        "user": room.members[0].user,
        "persona": state["personas"][0]["id"],
        "message": sent["message"],
        "run": sent["runs"][0],
    }


async def test_rest_answers_strangers_with_the_same_bytes_as_for_unknown_ids(
    busy: Installation,
) -> None:
    room, other = busy.populate(1, 1)[0], busy.populate(1, 1)[0]
    former = busy.populate(1, 2)[0]
    ids = await known_ids(busy, room)
    absent = {name: str(uuid4()) for name in ids}
    busy.request(
        "DELETE", f"/rooms/{former.id}/members/{former.members[1].user}", former.members[0].token
    )
    former_ids = {**await known_ids(busy, former), "team": str(uuid4())}

    for method, path, body in PATHS:
        for token, known in (
            (other.members[0].token, ids),
            (former.members[1].token, former_ids),
        ):
            real = busy.request(method, path.format(**known), token, body)
            unknown = busy.request(method, path.format(**absent), token, body)
            assert real == unknown, (method, path)
            assert real[0] == 404
        assert busy.request(method, path.format(**ids), None, body)[0] == 401


async def test_requests_without_credentials_get_the_same_response_on_all_paths(
    busy: Installation,
) -> None:
    absent = {name: str(uuid4()) for name in ("room", "team", "user", "persona", "message", "run")}

    answers = [
        busy.request(method, path.format(**absent), None, body) for method, path, body in PATHS
    ]

    assert all(answer == answers[0] for answer in answers)
    assert answers[0][1]["code"] == "unauthenticated"


async def test_failing_provider_affects_no_other_room(
    busy: Installation, provider: Provider
) -> None:
    (broken,) = busy.populate(1, 1, "--provider", provider.base_url, "--model", "fault-401")
    (healthy,) = busy.populate(1, 1)
    async with busy.socket(broken.members[0]) as mine, busy.socket(healthy.members[0]) as theirs:
        await mine.join(broken.id)
        await theirs.join(healthy.id)
        await asyncio.gather(mine.say(broken.id, "hi"), theirs.say(healthy.id, "hi"))

        failed = await mine.until_type("run.failed")
        await theirs.until_type("run.completed")

    assert failed["run"]["error"]["code"] == "provider_refused"
    detail = failed["run"]["error"]["detail"]
    assert detail
    assert provider.address not in detail
    assert "Traceback" not in busy.output


async def test_invalid_utf8_closes_the_socket_with_1007(busy: Installation) -> None:
    (room,) = busy.populate(1, 1)
    async with busy.socket(room.members[0]) as mine:
        transport = mine.connection.transport
        transport.write(bytes([0x81, 0x82, 0, 0, 0, 0, 0xC3, 0x28]))  # a text frame, broken UTF-8
        with pytest.raises(ConnectionClosed) as closed:
            await mine.receive()

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1007
