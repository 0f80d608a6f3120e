"""The end of somebody's access, told to whoever keeps something open for them.

The apps above this one hold sockets and memberships of their own, and this one may not know them:
so each names a function here when it starts (`AppConfig.ready`). It is called inside the
transaction that ends the access, and raises to undo it; what must wait for the commit, waits there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Ending:
    """Whose access has ended: all of it, or only that named by one of the other fields."""

    user_id: UUID
    team_id: UUID | None = None
    token_id: UUID | None = None
    session_key: str | None = None


Listener = Callable[[Ending], None]
_listeners: list[Listener] = []


def when_access_ends(listener: Listener) -> Listener:
    """Have `listener` called at each ending; naming it twice is the same as once."""
    if listener not in _listeners:
        _listeners.append(listener)
    return listener


def access_ended(ending: Ending) -> None:
    """Tell every listener, those of the apps below before those above.

    Django starts the apps above first. What they do last is to write the audit, which locks it.
    """
    for listener in reversed(_listeners):
        listener(ending)
