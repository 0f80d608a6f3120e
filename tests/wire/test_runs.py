"""The life of a run: queued, streaming, ended, cancelled and retried."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from tests.compact import BOTH
from tests.live import MARU_V1, Frame, Person, PopulatedRoom
from tests.wire.conftest import SLOTS
from tests.wire.server import UNKNOWN_ID, Server, WireClient, run_of, streamed
from tests.wire.shapes import RUN, check


@pytest.fixture
async def client(
    request: pytest.FixtureRequest, server: Server, owner: Person, room: PopulatedRoom
) -> AsyncIterator[WireClient]:
    """A client in the room; `in_both_forms` gives it each of the subprotocols."""
    async with server.client(owner, getattr(request, "param", (MARU_V1,))) as opened:
        await opened.join(room.id)
        yield opened


in_both_forms = pytest.mark.parametrize("client", [(MARU_V1,), BOTH], indirect=True, ids=len)


def kinds(frames: list[Frame]) -> list[str]:
    """Return the types in order, consecutive deltas as one, without `run.position`."""
    delivered = [frame["type"] for frame in frames if frame["type"] != "run.position"]
    return [
        kind
        for n, kind in enumerate(delivered)
        if kind != "message.delta" or kind != delivered[n - 1]
    ]


@in_both_forms
async def test_run_is_queued_streams_and_completes(
    server: Server, client: WireClient, owner: Person, room: PopulatedRoom
) -> None:
    asked = await client.send(room.id, "go", personas=[client.personas["tokens-60@200"]])
    (run,) = asked["runs"]
    await client.ended(run)
    life = client.of_run(run)
    assert kinds(life) == [
        "run.queued",
        "message.created",
        "run.started",
        "message.delta",
        "message.completed",
        "run.completed",
    ]
    queued, created, started, *deltas, finished, completed = life

    assert queued["run"]["answer"] is None
    assert queued["run"]["message"] == asked["message"]
    assert queued["run"]["requested_by"] == owner.user
    message = created["message"]
    assert (message["status"], message["text"], message["author"]["kind"]) == (
        "streaming",
        "",
        "persona",
    )
    assert started["run"]["answer"] == message["id"]
    assert [delta["seq"] for delta in deltas] == list(range(len(deltas)))
    assert {(delta["attempt"], delta["message"]) for delta in deltas} == {(1, message["id"])}
    whole = finished["message"]
    assert (whole["status"], whole["id"]) == ("complete", message["id"])
    assert whole["text"] == " ".join(f"t{n}" for n in range(60))
    assert streamed(deltas).rstrip() == whole["text"].rstrip()
    assert completed["run"]["usage"]["output_tokens"] > 0
    assert server.request("GET", f"/messages/{message['id']}", owner).body == whole
    assert server.request("GET", f"/runs/{run}", owner).body == completed["run"]


@in_both_forms
@pytest.mark.parametrize(
    ("model", "code", "posted"),
    [
        ("fault-401", "provider_refused", ""),
        ("fault-garbage", "provider_garbled", ""),
        ("fault-truncated", "truncated", "half an"),
        ("fault-reset-after-4", "provider_unavailable", "t0 t1 t2 t3"),
    ],
)
async def test_failed_answer_keeps_its_text_and_has_an_error(
    server: Server,
    client: WireClient,
    owner: Person,
    room: PopulatedRoom,
    model: str,
    code: str,
    posted: str,
) -> None:
    run = await client.ask(room.id, model)
    failed = await client.ended(run)
    updated = client.of_run(run)[-2]

    assert failed["type"] == "run.failed"
    error = failed["run"]["error"]
    assert error["code"] == code
    assert not re.search(r"127\.0|localhost|://|Traceback|Error\b|\bkey-|\.py", error["detail"])
    assert (updated["type"], updated["message"]["status"]) == ("message.updated", "failed")
    assert updated["message"]["text"].rstrip() == streamed(client.of_run(run)).rstrip() == posted
    assert (
        server.request("GET", f"/messages/{failed['run']['answer']}", owner).body["status"]
        == "failed"
    )


async def test_empty_answer_completes_without_deltas(
    client: WireClient, room: PopulatedRoom
) -> None:
    run = await client.ask(room.id, "fault-empty")
    ended = await client.ended(run)

    assert ended["type"] == "run.completed"
    assert "message.delta" not in kinds(client.of_run(run))
    assert client.of_run(run)[-2]["message"]["text"] == ""


@in_both_forms
async def test_no_delta_follows_the_response_to_cancel(
    server: Server, client: WireClient, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    mark = uuid4().hex
    async with server.client(member) as asker, server.client(owner) as other:
        await asker.join(room.id)
        run = await asker.ask(room.id, "tokens-6000@50", mark)
        await asker.event("message.delta", run)
        await other.join(room.id)
        done = await other.command("run.cancel", run=run)
        posted = len(other.frames)
        left = await server.provider.until(
            lambda p: any(mark in r.prompt and r.client_left_at for r in p.requests)
        )
        ended = await other.ended(run)
        await other.send(room.id, "after all")
        frames = await other.received_so_far()
    await client.ended(run)

    assert (done["type"], done["result"]) == ("command.done", {})
    assert left
    assert "message.delta" not in kinds(frames[posted:])
    assert ended["type"] == "run.cancelled"
    assert ended["run"]["stopped_by"] == owner.user
    updated = client.of_run(run)[-2]["message"]
    assert updated["status"] == "cancelled"
    assert updated["text"].rstrip() == streamed(client.of_run(run)).rstrip() != ""


async def test_cancel_at_any_moment_ends_the_run_once_and_keeps_the_text(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    generator = random.Random(11)
    moments = [generator.random() * 0.8 for _ in range(24)]
    await asyncio.gather(
        *(stop_at(server, room, moments[n :: len(rooms)]) for n, room in enumerate(rooms))
    )


async def stop_at(server: Server, room: PopulatedRoom, moments: list[float]) -> None:
    """Ask and cancel repeatedly in one room, and check the events of each run."""
    async with server.client(room.members[0]) as client:
        await client.join(room.id)
        for moment in moments:
            run = await client.ask(room.id, "tokens-60@200")
            await asyncio.sleep(moment)  # the cancellation must not follow a particular event
            await client.command("run.cancel", run=run)
            posted = len(client.frames)
            await client.ended(run)
            await client.received_so_far()
            late = [frame for frame in client.frames[posted:] if frame["type"] == "message.delta"]
            assert [frame for frame in late if frame["run"] == run] == []
            check_end(client.of_run(run))


def check_end(life: list[Frame]) -> None:
    """Check the events of a run that was cancelled or had just completed."""
    ends = [frame for frame in life if frame["type"] in ("run.cancelled", "run.completed")]
    assert len(ends) == 1
    assert ends[0] is life[-1]
    if ends[0]["run"]["answer"] is None:
        assert kinds(life) == ["run.queued", "run.cancelled"]
        return
    kept = life[-2]["message"]
    assert kept["text"].rstrip() == streamed(life).rstrip()
    assert kept["status"] == ("cancelled" if ends[0]["type"] == "run.cancelled" else "complete")


@asynccontextmanager
async def all_slots_busy(server: Server, room: PopulatedRoom) -> AsyncIterator[None]:
    """Occupy every slot with a run whose provider does not answer."""
    async with server.client(room.members[0]) as busy:
        await busy.join(room.id)
        running = [await busy.ask(room.id, "fault-hang") for _ in range(SLOTS)]
        for run in running:
            await busy.event("run.started", run)
        try:
            yield
        finally:
            for run in running:
                await busy.command("run.cancel", run=run)


async def test_queued_run_has_no_answer_and_can_be_cancelled(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    owner, room = rooms[1].members[0], rooms[1].id
    async with server.client(owner) as client:
        await client.join(room)
        async with all_slots_busy(server, rooms[0]):
            first, second = [await client.ask(room, "echo") for _ in range(2)]
            seen = (await client.join(room))["state"]["runs"]
            kept = server.request("GET", f"/runs/{first}", owner).body
            stopped = await client.command("run.cancel", run=first)
        cancelled, completed = await client.ended(first), await client.ended(second)

    assert [run["id"] for run in seen] == [first, second]
    assert kept["answer"] is None
    assert stopped["type"] == "command.done"
    assert kinds(client.of_run(first)) == ["run.queued", "run.cancelled"]
    assert cancelled["run"]["answer"] is None
    assert completed["type"] == "run.completed"


async def test_queued_runs_report_their_positions(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    owner, room = rooms[1].members[0], rooms[1].id
    async with server.client(owner) as client:
        await client.join(room)
        async with all_slots_busy(server, rooms[0]):
            waiting = [await client.ask(room, "echo") for _ in range(3)]
            delivered = [
                (await client.event("run.queued", run))["run"]["position"] for run in waiting
            ]
            seen = [run["position"] for run in (await client.join(room))["state"]["runs"]]
            kept = [
                server.request("GET", f"/runs/{run}", owner).body["position"] for run in waiting
            ]
            await client.command("run.cancel", run=waiting[0])
            moved = [await client.event("run.position", run) for run in waiting[1:]]
            ended = server.request("GET", f"/runs/{waiting[0]}", owner).body["position"]
        await client.ended(waiting[2])

    assert delivered == seen == kept == [1, 2, 3]
    assert [event["position"] for event in moved] == [1, 2]
    assert ended is None


@in_both_forms
async def test_concurrent_runs_of_a_room_are_cancelled_separately(
    client: WireClient, room: PopulatedRoom
) -> None:
    asked = [await client.ask(room.id, "tokens-6000@50") for _ in range(3)]
    for run in asked:
        await client.event("message.delta", run)
    posted = len(client.frames)
    await client.command("run.cancel", run=asked[1])
    after = len(client.frames)
    growing = {asked[0], asked[2]}
    while growing:
        growing.discard(run_of(await client.receive()) or "")
    for run in (asked[0], asked[2]):
        await client.command("run.cancel", run=run)
        await client.ended(run)

    deltas = [frame["run"] for frame in client.frames[:posted] if frame["type"] == "message.delta"]
    assert set(deltas) == set(asked)
    assert asked[1] not in [run_of(frame) for frame in client.frames[after:]]
    for run in asked:
        check_end(client.of_run(run))


async def test_retry_creates_a_run_for_the_same_message(
    server: Server, client: WireClient, owner: Person, member: Person, room: PopulatedRoom
) -> None:
    async with server.client(member) as asker:
        await asker.join(room.id)
        failed = (await asker.ended(await asker.ask(room.id, "fault-401")))["run"]
    again = (await client.command("run.retry", run=failed["id"]))["result"]["run"]
    ended = (await client.ended(again))["run"]

    assert again != failed["id"]
    assert ended["message"] == failed["message"]
    assert ended["persona"] == failed["persona"]
    assert ended["answer"] not in (None, failed["answer"])
    assert (failed["requested_by"], ended["requested_by"]) == (member.user, owner.user)
    assert server.request("GET", f"/runs/{failed['id']}", member).body == failed


async def test_retry_of_a_completed_run_makes_a_new_version_of_its_answer(
    server: Server, client: WireClient, owner: Person, room: PopulatedRoom
) -> None:
    old = (await client.ended(await client.ask(room.id, "echo")))["run"]
    later = await client.send(room.id, "later")
    run = server.request("POST", f"/runs/{old['id']}/retry", owner).body
    new = (await client.ended(run["id"]))["run"]

    created, completed = (
        frame["message"]
        for frame in client.of_run(run["id"])
        if frame["type"] in ("message.created", "message.completed")
    )
    replaced = server.request("GET", f"/messages/{old['answer']}", owner).body
    assert run["replaces"] == created["replaces"] == completed["replaces"] == old["answer"]
    assert (created["id"], completed["answer_version"]) == (new["answer"], 2)
    assert replaced["replaced_by"] == new["answer"]
    assert replaced["text"]
    listed = server.request("GET", f"/rooms/{room.id}/messages?limit=2", owner).body["items"]
    assert [each["id"] for each in listed] == [later["message"], new["answer"]]
    snapshot = await client.join(room.id)
    shown = [each["id"] for each in snapshot["state"]["messages"]]
    assert shown[-2:] == [new["answer"], later["message"]]
    assert old["answer"] not in shown
    assert server.request("POST", f"/runs/{old['id']}/retry", owner).status == 409


async def test_runs_are_read_cancelled_and_retried_by_rest(
    server: Server, client: WireClient, owner: Person, room: PopulatedRoom
) -> None:
    run = await client.ask(room.id, "fault-hang")
    await client.event("run.started", run)
    seen = server.request("GET", f"/runs/{run}", owner)
    stopped = server.request("POST", f"/runs/{run}/cancel", owner)
    cancelled = await client.ended(run)
    retried = server.request("POST", f"/runs/{run}/retry", owner)
    again = await client.find(
        lambda frame: frame["type"] == "run.queued" and frame["run"]["id"] != run
    )

    check(RUN, seen.body)
    assert stopped.status in (200, 202, 204)
    assert cancelled["type"] == "run.cancelled"
    assert cancelled["run"]["stopped_by"] == owner.user
    assert retried.status in (200, 201, 202)
    assert again["run"]["id"] in retried.raw.decode()
    await client.command("run.cancel", run=again["run"]["id"])


async def test_runs_of_other_rooms_are_not_found(
    server: Server, client: WireClient, room: PopulatedRoom, stranger: Person
) -> None:
    async with (
        client.asking(room.id, "fault-hang") as run,
        server.client(stranger) as stranger_client,
    ):
        for kind in ("run.cancel", "run.retry"):
            theirs = await stranger_client.command(kind, run=run)
            unknown = await stranger_client.command(kind, run=UNKNOWN_ID)
            assert theirs["code"] == "not_found"
            assert {**theirs, "ref": ""} == {**unknown, "ref": ""}
        for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
            asked = [
                server.request(method, f"/runs/{one}{path}", stranger) for one in (run, UNKNOWN_ID)
            ]
            assert asked[0] == asked[1]
            assert asked[0].status == 404
        assert server.request("GET", f"/runs/{run}", room.members[0]).body["stopped_by"] is None


async def test_reader_sees_runs_but_cannot_cancel_or_retry(
    server: Server, client: WireClient, room: PopulatedRoom
) -> None:
    reader = room.members[3]
    role = {"role": "reader"}
    server.request("PUT", f"/rooms/{room.id}/members/{reader.user}", room.members[0], role)
    async with (
        client.asking(room.id, "fault-hang-after-3") as run,
        server.client(reader) as reading,
    ):
        await reading.join(room.id)
        assert await reading.refusal_code("run.cancel", run=run) == "forbidden"
        assert await reading.refusal_code("run.retry", run=run) == "forbidden"
        assert server.request("POST", f"/runs/{run}/cancel", reader).code == "forbidden"
        assert server.request("GET", f"/runs/{run}", reader).status == 200
