"""Which names of a room can be confused; the page shows the handle beside them.

`static/rooms/namesakes.js` applies the same rule to later events.
"""

from collections import defaultdict
from uuid import UUID

from accounts.names import look_alike_key
from rooms.protocol.payloads import RoomState


class Namesakes:
    """The members and personas of a room by the look of their names."""

    def __init__(self, state: RoomState) -> None:
        self._is_complete = state.members_complete
        self._known = {
            *(member.user for member in state.members),
            *(persona.id for persona in state.personas),
        }
        self._ids: dict[str, set[UUID]] = defaultdict(set)
        for member in state.members:
            self._ids[look_alike_key(member.name)].add(member.user)
        for persona in state.personas:
            self._ids[look_alike_key(persona.name)].add(persona.id)

    def handle(self, author_id: UUID | None, name: str, handle: str) -> str:
        """Return `@handle` if another member or persona has a name like `name`; else nothing.

        In a large room, also for an author who is not among the members of the state.
        """
        others = self._ids.get(look_alike_key(name), set()) - {author_id}
        if not self._is_complete and author_id not in self._known:
            return f"@{handle}" if handle else ""
        return f"@{handle}" if others and handle else ""
