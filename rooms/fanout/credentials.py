"""The credential that a connection was authenticated with."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Credential:
    """A user and the token or session that authenticated the connection."""

    user_id: UUID
    token_id: UUID | None = None
    session_key: str | None = None
    team_id: UUID | None = None  # the team that the token is bound to, or None

    @property
    def keys(self) -> tuple[UUID | None, str | None]:
        """The token's id and the session's key; at most one of them is set."""
        return self.token_id, self.session_key


RoomsByCredential = Mapping[Credential, Set[UUID]]
"""For each credential, the rooms that its connections are subscribed to."""
