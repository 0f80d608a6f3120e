"""Two web processes and a worker on PostgreSQL and Redis behave like one process."""

import asyncio
import json
import re
import urllib.request
from contextlib import AsyncExitStack
from email.message import Message
from itertools import pairwise
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.room_sockets import join_on_both
from tests.deadlines import DEADLINE
from tests.live import Frame, PopulatedRoom, free_port
from tests.maru.server.starting import MANAGE, SERVER, failed_start

QUICK, LONG = "tokens-40@200", "tokens-3000@50"
"""The interval at which an idle worker polls the queue."""
RUNAGENTS = (MANAGE[0], "runagents")


@pytest.fixture(scope="module")
def rooms(cluster: Cluster) -> list[PopulatedRoom]:
    models = ("--model", QUICK, "--model", LONG)
    provider = f"http://{cluster.webs[0].env['MARU_EGRESS_ALLOW']}/v1"
    return cluster.populate(3, 2, "--provider", provider, *models)


def text_of(frames: list[Frame]) -> str:
    return "".join(frame["text"] for frame in frames)


async def test_answer_asked_for_on_one_web_process_streams_on_both(
    cluster: Cluster, rooms: list[PopulatedRoom]
) -> None:
    async with AsyncExitStack() as stack:
        sockets = await join_on_both(cluster, rooms[0], stack)

        await sockets.ask(QUICK)
        completed = [await socket.until_type("message.completed") for socket in sockets.both]
        for socket in sockets.both:
            await socket.until_type("run.completed")

    expected = "".join(f"t{number} " for number in range(40))
    for socket, event in zip(sockets.both, completed, strict=True):
        deltas = socket.of_type("message.delta")
        assert [delta["seq"] for delta in deltas] == list(range(len(deltas)))
        assert len(deltas) > 1
        assert text_of(deltas) == expected
        assert event["message"]["text"] == expected.rstrip()
        durable = [
            f["seq"]
            for f in socket.frames
            if f["type"].split(".")[0] in {"run", "message"} and f["type"] != "message.delta"
        ]
        assert all(later == earlier + 1 for earlier, later in pairwise(durable))


async def test_reading_on_one_web_process_clears_the_count_on_the_other(
    cluster: Cluster, rooms: list[PopulatedRoom]
) -> None:
    room, (first_web, second_web) = rooms[2], cluster.webs
    owner, member = room.members
    async with first_web.socket(owner) as first, second_web.socket(owner) as second:
        await first.join(room.id)
        posted = await asyncio.to_thread(
            first_web.request,
            "POST",
            f"/rooms/{room.id}/messages",
            member.token,
            {"text": "hello", "personas": []},
        )
        assert (await second.until_type("room.activity"))["unread"] == 1

        seq = posted[1]["message"]["seq"]
        await first.connection.send(json.dumps({"type": "room.read", "room": room.id, "seq": seq}))

        assert (await second.until_type("room.activity"))["unread"] == 0


async def test_no_delta_follows_a_run_cancelled_on_the_other_web_process(
    cluster: Cluster, rooms: list[PopulatedRoom]
) -> None:
    async with AsyncExitStack() as stack:
        sockets = await join_on_both(cluster, rooms[1], stack)
        token = rooms[1].members[0].token
        other = await stack.enter_async_context(cluster.webs[1].socket(rooms[1].members[0]))
        await other.join(rooms[1].id)

        run = await sockets.ask(LONG)
        await other.until_type("message.delta")
        done = await other.command("run.cancel", run=run)
        shown = text_of(other.of_type("message.delta"))
        for socket in (*sockets.both, other):
            if not socket.of_type("run.cancelled"):
                await socket.until_type("run.cancelled")
            await socket.received_so_far()
        status, body = await asyncio.to_thread(
            cluster.webs[0].request, "GET", f"/runs/{run}", token
        )

    assert done["type"] == "command.done"
    assert text_of(other.of_type("message.delta")) == shown
    for socket in (*sockets.both, other):
        types = [frame["type"] for frame in socket.frames]
        assert "message.delta" not in types[types.index("run.cancelled") :]
    assert (status, body["state"]) == (200, "cancelled")


async def test_socket_receives_nothing_after_its_member_is_removed_on_the_other_process(
    cluster: Cluster, rooms: list[PopulatedRoom]
) -> None:
    room = rooms[2]
    async with AsyncExitStack() as stack:
        sockets = await join_on_both(cluster, room, stack)
        run = await sockets.ask(LONG)
        await sockets.member.until_type("message.delta")

        status, _ = await asyncio.to_thread(
            cluster.webs[0].request,
            "DELETE",
            f"/rooms/{room.id}/members/{room.members[1].user}",
            room.members[0].token,
        )
        await sockets.member.until_type("room.removed")
        # The owner still receives the answer, so there are frames that could leak.
        sockets.owner.frames.clear()
        await sockets.owner.until(lambda _: len(sockets.owner.of_type("message.delta")) > 3)
        again = await sockets.member.join(room.id)
        frames = await sockets.member.received_so_far()
        await sockets.owner.command("run.cancel", run=run)

    assert status == 204
    removed = [frame["type"] for frame in frames].index("room.removed")
    assert [frame["type"] for frame in frames[removed + 1 :]] == ["command.refused", "command.done"]
    assert again["code"] == "not_found"


def get(url: str) -> tuple[str, Message]:
    """Return body and headers of a GET request."""
    with urllib.request.urlopen(url, timeout=DEADLINE) as response:
        return response.read().decode(), response.headers


def test_static_files_have_hashed_names_and_are_immutable(
    cluster: Cluster,
) -> None:
    web = cluster.webs[0]

    page, private = get(f"{web.url}/accounts/login/")
    files = re.findall(r'["\s](/static/[^"#?\s]+)', page)
    served = {file: get(web.url + file)[1] for file in files}

    assert "no-store" in private["Cache-Control"]
    assert {".css", ".js", ".svg"} <= {Path(file).suffix for file in files}
    for file, headers in served.items():
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", file), file
        assert headers["Cache-Control"] == "max-age=315360000, public, immutable", file
        assert headers["X-Content-Type-Options"] == "nosniff", file


def test_all_that_the_script_imports_is_served_under_hashed_names(cluster: Cluster) -> None:
    web = cluster.webs[0]
    page, _ = get(f"{web.url}/accounts/login/")
    pending, seen = set(re.findall(r'["\s](/static/[^"\s]+\.js)', page)), set[str]()

    while pending:
        module = pending.pop()
        seen.add(module)
        code, _ = get(web.url + module)
        imports = re.findall(r'\b(?:from\s*|import\s*\(?)"(\.[^"]+)"', code)
        pending |= {urljoin(module, path) for path in imports} - seen

    for path in ("/bundles/acting.", "/bundles/thread.", "/vendor/katex/"):
        assert any(path in module for module in seen), path
    assert all(re.search(r"\.[0-9a-f]{12}\.js$", module) for module in seen)


def test_web_process_reports_readiness_and_metrics(cluster: Cluster) -> None:
    for web in cluster.webs:
        assert json.loads(get(f"{web.url}/readyz")[0]) == {"status": "ok"}
        assert "process_resident_memory_bytes" in get(f"{web.url}/metrics")[0]


@pytest.mark.parametrize("command", [SERVER, RUNAGENTS], ids=["server", "runagents"])
def test_start_on_an_unmigrated_database_fails_with_an_instruction(
    cluster: Cluster, tmp_path: Path, command: tuple[str, ...]
) -> None:
    empty = cluster.postgres.create(f"for {command[-1]}")

    sentence = failed_start(tmp_path, *command, **production(cluster, empty)).sentence

    assert sentence == ("The database is not up to date. Run `python manage.py migrate` first.")


def test_start_without_a_database_fails_without_naming_its_address(
    cluster: Cluster, tmp_path: Path
) -> None:
    nowhere = f"postgresql://maru:CANARY@127.0.0.1:{free_port()}/maru"

    sentence = failed_start(tmp_path, *RUNAGENTS, **production(cluster, nowhere)).sentence

    assert sentence == (
        "The database cannot be reached. Check that it runs, and check MARU_DATABASE_URL."
    )


def production(cluster: Cluster, database: str) -> dict[str, str]:
    """Return the settings of the cluster with another database."""
    names = ("MARU_DATA_DIR", "MARU_REDIS_URL", "MARU_SECRET_KEY")
    return {**{name: cluster.webs[0].env[name] for name in names}, "MARU_DATABASE_URL": database}
