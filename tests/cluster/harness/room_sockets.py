"""Two members of one room, each on another web process."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from tests.cluster.harness.cluster import Cluster
from tests.live import Frame, PopulatedRoom, Socket


@dataclass(frozen=True)
class RoomSockets:
    """The owner on the first web process and a member on the second; both have joined the room."""

    room: PopulatedRoom
    owner: Socket
    member: Socket
    personas: dict[str, str]
    """Ids of the personas by model."""

    @property
    def both(self) -> tuple[Socket, Socket]:
        return self.owner, self.member

    async def ask(self, model: str) -> str:
        """Have the owner ask the persona of this model; return the run."""
        answer = await self.owner.say(self.room.id, "Go on.", personas=[self.personas[model]])
        (run,) = answer["result"]["runs"]
        return str(run)


async def join_on_both(cluster: Cluster, room: PopulatedRoom, stack: AsyncExitStack) -> RoomSockets:
    """Open one socket on each of two web processes and join the room on both."""
    owner, member = [
        await stack.enter_async_context(web.socket(person))
        for web, person in zip(cluster.webs, room.members, strict=True)
    ]
    joined: list[Frame] = [await socket.join(room.id) for socket in (owner, member)]
    assert [frame["type"] for frame in joined] == ["room.snapshot"] * 2
    personas = {persona["handle"]: persona["id"] for persona in joined[0]["state"]["personas"]}
    return RoomSockets(room, owner, member, personas)
