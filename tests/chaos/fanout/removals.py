"""Members who are removed on one process, while another one tells them an answer: TEN-04."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.bench.report.figures import percentile
from tests.chaos.target import Outcome
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.services import Postgres
from tests.live import Installation, Person, PopulatedRoom, Socket

TALK = "tokens-3000@50"
"""An answer that goes on for a minute, in fifty pieces a second."""
OF_ONE_ANSWER = 100

COMMITTED = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM rooms_roomevent
WHERE room_id = %s AND type = 'member.removed' ORDER BY seq
"""


async def remove_members(
    cluster: Cluster, provider: str, *, removals: int, crowd: int = 0
) -> Outcome:
    """Remove a member in the middle of an answer, again and again, while a crowd hears it, too.

    From the commit, by the clock of the database, to the word on their socket: the machine is one.
    """
    (room,) = cluster.populate(1, 2 + crowd, "--provider", provider, "--model", TALK)
    removing, telling = cluster.webs
    told: list[float] = []
    complaints: list[str] = []
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(removing.socket(room.members[0]))
        victim = await stack.enter_async_context(telling.socket(room.members[1]))
        for person in room.members[2:]:
            await stack.enter_async_context(_listening(telling, person, room.id))
        for number in range(removals):
            if number % OF_ONE_ANSWER == 0:
                await _talk(owner, room.id)
            told.append(await _remove(removing, room, victim))
            complaints += await _after(telling, room, victim)
            await _let_in(removing, room)
    committed = _committed(cluster.postgres, room.id)
    waits = [heard - then for heard, then in zip(told, committed, strict=True)]
    figures: dict[str, float] = {
        "removed in the middle of an answer": len(waits),
        "removed to told, p50 (ms)": 1000 * percentile(waits, 0.5),
        "removed to told, p99 (ms)": 1000 * percentile(waits, 0.99),
        "removed to told, longest (ms)": 1000 * max(waits),
    }
    return Outcome(figures, complaints)


@asynccontextmanager
async def _listening(web: Installation, person: Person, room: str) -> AsyncIterator[None]:
    async with web.socket(person) as socket:
        await socket.join(room)
        hearing = asyncio.create_task(_hear(socket))
        yield
        hearing.cancel()


async def _hear(socket: Socket) -> None:
    async for _frame in socket.connection:
        pass


async def _talk(owner: Socket, room: str) -> None:
    """Have the persona say something long; what it said before is stopped."""
    for asked in owner.of_type("command.done"):
        for run in asked["result"].get("runs", []):
            await owner.command("run.cancel", run=run)
    owner.frames.clear()
    await owner.say(room, "Go on.")


async def _remove(web: Installation, room: PopulatedRoom, victim: Socket) -> float:
    """Let them hear the answer, and remove them; return when they were told."""
    victim.frames.clear()
    await victim.join(room.id)
    await victim.until_type("message.delta")
    removing = asyncio.create_task(_ask(web, "DELETE", room, expected=204))
    await victim.until_type("room.removed")
    told = time.time()
    await removing
    return told


async def _after(web: Installation, room: PopulatedRoom, victim: Socket) -> list[str]:
    """Complain of what still reaches who was told that they are out."""
    status, _body = await asyncio.to_thread(
        web.request, "GET", f"/rooms/{room.id}", room.members[1].token
    )
    kinds = [frame["type"] for frame in await victim.everything_so_far()]
    late = kinds[kinds.index("room.removed") + 1 : -1]  # the last one answers our ping
    return [*(["the room was still read"] if status != 404 else []), *late]


async def _let_in(web: Installation, room: PopulatedRoom) -> None:
    await _ask(web, "PUT", room, {"role": "member"}, expected=200)


async def _ask(
    web: Installation, method: str, room: PopulatedRoom, body: object = None, *, expected: int
) -> None:
    member = f"/rooms/{room.id}/members/{room.members[1].user}"
    owner = room.members[0].token
    status, answer = await asyncio.to_thread(web.request, method, member, owner, body)
    assert status == expected, answer


def _committed(postgres: Postgres, room: str) -> list[float]:
    with postgres.connect() as connection:
        return [float(when) for (when,) in connection.execute(COMMITTED, [room])]
