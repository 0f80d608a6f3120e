"""Two web processes, one worker, PostgreSQL and Redis: to everybody it is one Maru."""

import asyncio
import json
import re
import urllib.request
from contextlib import AsyncExitStack
from dataclasses import dataclass
from email.message import Message
from itertools import pairwise
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.deadlines import DEADLINE, scaled
from tests.live import Frame, PopulatedRoom, Socket, free_port
from tests.maru.server.starting import MANAGE, SERVER, failed_start

QUICK, LONG = "tokens-40@200", "tokens-3000@50"
SECONDS_OF_A_LOOK = 2.0
RUNAGENTS = (MANAGE[0], "runagents")


@dataclass(frozen=True)
class Meeting:
    """The owner on one web process and a member on the other, both in the room."""

    room: PopulatedRoom
    owner: Socket
    member: Socket
    personas: dict[str, str]

    @property
    def both(self) -> tuple[Socket, Socket]:
        return self.owner, self.member

    async def ask(self, model: str) -> Frame:
        """Have the owner ask the persona of a model; return the command's result."""
        done = await self.owner.say(self.room.id, "Go on.", personas=[self.personas[model]])
        result: Frame = done["result"]
        return result


@pytest.fixture(scope="module")
def rooms(cluster: Cluster) -> list[PopulatedRoom]:
    models = ("--model", QUICK, "--model", LONG)
    provider = f"http://{cluster.webs[0].env['MARU_EGRESS_ALLOW']}/v1"
    return cluster.populate(3, 2, "--provider", provider, *models)


async def meet(cluster: Cluster, room: PopulatedRoom, stack: AsyncExitStack) -> Meeting:
    """Open a socket on each web process and join the room on both."""
    owner, member = [
        await stack.enter_async_context(web.socket(person))
        for web, person in zip(cluster.webs, room.members, strict=True)
    ]
    joined = [await socket.join(room.id) for socket in (owner, member)]
    personas = {persona["name"]: persona["id"] for persona in joined[0]["state"]["personas"]}
    return Meeting(room, owner, member, personas)


def text_of(frames: list[Frame]) -> str:
    return "".join(frame["text"] for frame in frames)


async def test_asked_on_one_web_process_it_streams_on_both(
    cluster: Cluster, rooms: list[PopulatedRoom]
) -> None:
    async with AsyncExitStack() as stack:
        meeting = await meet(cluster, rooms[0], stack)

        await meeting.ask(QUICK)
        answers = [await socket.until_type("message.completed") for socket in meeting.both]
        for socket in meeting.both:
            await socket.until_type("run.completed")

    expected = "".join(f"t{number} " for number in range(40))
    for socket, answer in zip(meeting.both, answers, strict=True):
        deltas = socket.of_type("message.delta")
        assert [delta["seq"] for delta in deltas] == list(range(len(deltas)))
        assert len(deltas) > 1
        assert text_of(deltas) == expected
        assert answer["message"]["text"] == expected.rstrip()
        durable = [
            f["seq"]
            for f in socket.frames
            if f["type"].split(".")[0] in {"run", "message"} and f["type"] != "message.delta"
        ]
        assert all(later == earlier + 1 for earlier, later in pairwise(durable))


async def test_worker_is_woken_and_does_not_wait_for_its_own_look(
    cluster: Cluster, rooms: list[PopulatedRoom]
) -> None:
    waits = []
    async with AsyncExitStack() as stack:
        meeting = await meet(cluster, rooms[0], stack)
        for _ in range(4):
            asked = asyncio.get_running_loop().time()
            await meeting.ask(QUICK)
            await meeting.member.until_type("run.started")
            waits.append(asyncio.get_running_loop().time() - asked)
            await meeting.member.until_type("run.completed")

    # Unwoken, the mean is half a look; the worst of a busy machine is left out.
    assert sum(sorted(waits)[:3]) / 3 < scaled(SECONDS_OF_A_LOOK / 4), waits


async def test_stopped_on_the_other_web_process_nothing_more_is_said(
    cluster: Cluster, rooms: list[PopulatedRoom]
) -> None:
    async with AsyncExitStack() as stack:
        meeting = await meet(cluster, rooms[1], stack)
        token = rooms[1].members[0].token
        other = await stack.enter_async_context(cluster.webs[1].socket(rooms[1].members[0]))
        await other.join(rooms[1].id)

        (run,) = (await meeting.ask(LONG))["runs"]
        await other.until_type("message.delta")
        done = await other.command("run.cancel", run=run)
        shown = text_of(other.of_type("message.delta"))
        for socket in (*meeting.both, other):
            if not socket.of_type("run.cancelled"):
                await socket.until_type("run.cancelled")
            await socket.everything_so_far()
        status, body = await asyncio.to_thread(
            cluster.webs[0].request, "GET", f"/runs/{run}", token
        )

    assert done["type"] == "command.done"
    assert text_of(other.of_type("message.delta")) == shown
    for socket in (*meeting.both, other):
        types = [frame["type"] for frame in socket.frames]
        assert "message.delta" not in types[types.index("run.cancelled") :]
    assert (status, body["state"]) == (200, "cancelled")


async def test_removed_on_one_web_process_the_other_lets_the_socket_hear_no_more(
    cluster: Cluster, rooms: list[PopulatedRoom]
) -> None:
    room = rooms[2]
    async with AsyncExitStack() as stack:
        meeting = await meet(cluster, room, stack)
        (run,) = (await meeting.ask(LONG))["runs"]
        await meeting.member.until_type("message.delta")

        status, _ = await asyncio.to_thread(
            cluster.webs[0].request,
            "DELETE",
            f"/rooms/{room.id}/members/{room.members[1].user}",
            room.members[0].token,
        )
        await meeting.member.until_type("room.removed")
        # The answer goes on, and the owner hears it: there is something that could leak.
        meeting.owner.frames.clear()
        await meeting.owner.until(lambda _: len(meeting.owner.of_type("message.delta")) > 3)
        again = await meeting.member.join(room.id)
        frames = await meeting.member.everything_so_far()
        await meeting.owner.command("run.cancel", run=run)

    assert status == 204
    removed = [frame["type"] for frame in frames].index("room.removed")
    assert [frame["type"] for frame in frames[removed + 1 :]] == ["command.refused", "command.done"]
    assert again["code"] == "not_found"


def get(url: str) -> tuple[str, Message]:
    """Return the text and the headers of what is at `url`."""
    with urllib.request.urlopen(url, timeout=DEADLINE) as response:
        return response.read().decode(), response.headers


def test_pages_name_their_files_by_content_and_those_may_be_kept_for_ever(
    cluster: Cluster,
) -> None:
    web = cluster.webs[0]

    page, private = get(f"{web.url}/accounts/login/")
    files = re.findall(r'"(/static/[^"#?]+)', page)
    served = {file: get(web.url + file)[1] for file in files}

    assert "no-store" in private["Cache-Control"]
    assert {".css", ".js", ".svg"} <= {Path(file).suffix for file in files}
    for file, headers in served.items():
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", file), file
        assert headers["Cache-Control"] == "max-age=315360000, public, immutable", file
        assert headers["X-Content-Type-Options"] == "nosniff", file


def test_every_module_that_a_page_imports_is_there_under_its_own_name(cluster: Cluster) -> None:
    web = cluster.webs[0]
    page, _ = get(f"{web.url}/accounts/login/")
    waiting, seen = set(re.findall(r'"(/static/[^"]+\.js)"', page)), set[str]()

    while waiting:
        module = waiting.pop()
        seen.add(module)
        code, _ = get(web.url + module)
        imports = re.findall(r'from\s*"(\.[^"]+)"|import\s*"(\.[^"]+)"', code)
        waiting |= {urljoin(module, "".join(path)) for path in imports} - seen

    assert len(seen) > 3
    assert all(re.search(r"\.[0-9a-f]{12}\.js$", module) for module in seen)


def test_whoever_watches_sees_a_web_process_that_is_ready(cluster: Cluster) -> None:
    for web in cluster.webs:
        assert json.loads(get(f"{web.url}/readyz")[0]) == {"status": "ok"}
        assert "process_resident_memory_bytes" in get(f"{web.url}/metrics")[0]


@pytest.mark.parametrize("command", [SERVER, RUNAGENTS], ids=["server", "runagents"])
def test_database_that_was_not_migrated_is_named_with_what_to_do(
    cluster: Cluster, tmp_path: Path, command: tuple[str, ...]
) -> None:
    empty = cluster.postgres.create(f"for {command[-1]}")

    sentence = failed_start(tmp_path, *command, **production(cluster, empty)).sentence

    assert sentence == ("The database is not up to date. Run `python manage.py migrate` first.")


def test_database_that_is_not_there_is_named_without_its_address(
    cluster: Cluster, tmp_path: Path
) -> None:
    nowhere = f"postgresql://maru:CANARY@127.0.0.1:{free_port()}/maru"

    sentence = failed_start(tmp_path, *RUNAGENTS, **production(cluster, nowhere)).sentence

    assert sentence == (
        "The database cannot be reached. Look at MARU_DATABASE_URL and whether it runs."
    )


def production(cluster: Cluster, database: str) -> dict[str, str]:
    """The cluster's settings, on another database."""
    names = ("MARU_DATA_DIR", "MARU_REDIS_URL", "MARU_SECRET_KEY")
    return {**{name: cluster.webs[0].env[name] for name in names}, "MARU_DATABASE_URL": database}


def test_worker_that_is_told_to_stop_ends_in_good_order(cluster: Cluster) -> None:
    worker = cluster.workers[0]

    status = worker.stop()
    worker.start()

    assert status == 0
    assert "Traceback" not in worker.output
