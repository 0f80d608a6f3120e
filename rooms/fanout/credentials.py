"""By what somebody came in."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Credential:
    """By what a socket came in: whose it is, and the token or the session that it was."""

    user_id: UUID
    token_id: UUID | None = None
    session_key: str | None = None
    team_id: UUID | None = None  # the one that a token is bound to

    @property
    def keys(self) -> tuple[UUID | None, str | None]:
        """The token and the session, one of which it is."""
        return self.token_id, self.session_key


RoomsByCredential = Mapping[Credential, Set[UUID]]
"""The rooms that are open by each."""
