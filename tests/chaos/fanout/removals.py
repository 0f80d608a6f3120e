"""Members are removed by one web process while another one streams an answer to them."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.bench.report.figures import percentile
from tests.chaos.target import Outcome
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres
from tests.live import Installation, Person, PopulatedRoom, Socket

MODEL = "tokens-3000@50"
"""An answer that streams for at least a minute, in fifty chunks per second."""
ANSWER_SECONDS = 30
"""After this time a new answer is started, long before the end of the old one."""

COMMITTED_AT = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM rooms_roomevent
WHERE room_id = %s AND type = 'member.removed' ORDER BY seq
"""


async def remove_members(
    cluster: Cluster, provider: str, *, removals: int, other_members: int = 0
) -> Outcome:
    """Remove a member during an answer, repeatedly, while other members also receive it.

    Measures from the commit, by PostgreSQL's clock, to room.removed at the member's socket. Both
    clocks are the clock of this machine.
    """
    (room,) = cluster.populate(1, 2 + other_members, "--provider", provider, "--model", MODEL)
    removing, streaming = cluster.webs
    received: list[float] = []
    violations: list[str] = []
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(removing.socket(room.members[0]))
        member = await stack.enter_async_context(streaming.socket(room.members[1]))
        for person in room.members[2:]:
            await stack.enter_async_context(_receiving(streaming, person, room.id))
        started = -math.inf
        for _ in range(removals):
            if time.monotonic() - started > ANSWER_SECONDS:
                await _start_answer(owner, room.id)
                started = time.monotonic()
            received.append(await _remove(removing, room, member))
            violations += await _frames_after_removal(streaming, room, member)
            await _request_member(removing, "PUT", room, {"role": "member"}, expected=200)
    committed = _commit_times(cluster.postgres, room.id)
    waits = [at - commit for at, commit in zip(received, committed, strict=True)]
    figures: dict[str, float] = {
        "removals during an answer": len(waits),
        "commit to room.removed, p50 (ms)": 1000 * percentile(waits, 0.5),
        "commit to room.removed, p99 (ms)": 1000 * percentile(waits, 0.99),
        "commit to room.removed, longest (ms)": 1000 * max(waits),
    }
    return Outcome(figures, violations)


@asynccontextmanager
async def _receiving(web: Installation, person: Person, room: str) -> AsyncIterator[None]:
    """Join the room, and receive and drop all frames in a task."""
    async with web.socket(person) as socket:
        await socket.join(room)
        task = asyncio.create_task(_drain(socket))
        yield
        task.cancel()


async def _drain(socket: Socket) -> None:
    async for _frame in socket.connection:
        pass


async def _start_answer(owner: Socket, room: str) -> None:
    """Cancel the previous answers and ask for a new one."""
    for done in owner.of_type("command.done"):
        for run in done["result"].get("runs", []):
            await owner.command("run.cancel", run=run)
    owner.frames.clear()
    await owner.say(room, "Go on.")


async def _remove(web: Installation, room: PopulatedRoom, member: Socket) -> float:
    """Wait for a delta, remove the member, and return the time of room.removed (Unix time)."""
    member.frames.clear()
    await member.join(room.id)
    await member.until_type("message.delta")
    removing = asyncio.create_task(_request_member(web, "DELETE", room, expected=204))
    await member.until_type("room.removed")
    received = time.time()
    await removing
    return received


async def _frames_after_removal(
    web: Installation, room: PopulatedRoom, member: Socket
) -> list[str]:
    """Return a violation for each frame that the member received after room.removed."""
    status, _body = await asyncio.to_thread(
        web.request, "GET", f"/rooms/{room.id}", room.members[1].token
    )
    kinds = [frame["type"] for frame in await member.received_so_far()]
    late = kinds[kinds.index("room.removed") + 1 : -1]  # the last frame is the answer to a ping
    readable = ["GET of the room succeeded after the removal"] if status != 404 else []
    return [*readable, *(f"{kind} after room.removed" for kind in late)]


async def _request_member(
    web: Installation, method: str, room: PopulatedRoom, body: object = None, *, expected: int
) -> None:
    member = f"/rooms/{room.id}/members/{room.members[1].user}"
    owner = room.members[0].token
    status, answer = await asyncio.to_thread(web.request, method, member, owner, body)
    assert status == expected, answer


def _commit_times(postgres: Postgres, room: str) -> list[float]:
    with postgres.connect() as connection:
        return [float(when) for (when,) in connection.execute(COMMITTED_AT, [room])]
