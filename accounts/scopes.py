"""The scope of a session or of an API token: the limits of a credential.

A session has all permissions of its user. A token has fewer: it lists read, write or admin, and it
may be bound to one team. The permission checks call `check_in_scope` with the scope of the acting
user, so pages, REST and sockets enforce the scope without additional code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from django.utils.translation import gettext as _

from accounts.errors import Forbidden, NotFound

READ: Final = "read"
WRITE: Final = "write"
ADMIN: Final = "admin"
SCOPES: Final = (READ, WRITE, ADMIN)
"""The scope names that a token may list. Each name includes the names before it."""

SCOPE_OF_PERMISSION: Final[Mapping[str, str]] = {
    "view": READ,
    "join_room": WRITE,
    "create_room": WRITE,
    "use": READ,
    "post": WRITE,
    "moderate": WRITE,
    "edit": ADMIN,
    "share": ADMIN,
    "manage": ADMIN,
    "manage_people": ADMIN,
    "manage_agents": ADMIN,
}


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of one credential: scope names, an optional team and an optional expiry.

    `token_id` is the id of the token, or None for a session. `token_hint` (the last characters of
    the token) goes into audit entries.
    """

    names: frozenset[str]
    team_id: UUID | None = None
    expires_at: datetime | None = None
    token_hint: str = field(default="", compare=False)
    token_id: UUID | None = field(default=None, compare=False)

    def includes(self, other: Scope) -> bool:
        """Return True if this scope allows all that `other` allows and expires no earlier."""
        expires_in_time = self.expires_at is None or (
            other.expires_at is not None and other.expires_at <= self.expires_at
        )
        return (
            other.names <= self.names and self.team_id in (None, other.team_id) and expires_in_time
        )


FULL_SCOPE: Final = Scope(frozenset(SCOPES))


def implied_scopes(names: Iterable[str]) -> frozenset[str]:
    """Return `names` with the scope names that they include: write includes read."""
    highest = max((SCOPES.index(name) for name in names), default=-1)
    return frozenset(SCOPES[: highest + 1])


def check_scope(scope: Scope, name: str, team_id: UUID | None = None) -> None:
    """Raise Forbidden if `scope` does not have the scope name `name`.

    `team_id` is the team whose audit log records the refusal.
    """
    if name not in scope.names:
        detail = _("This token does not have the scope “%(scope)s”.") % {"scope": name}
        raise Forbidden(detail, team_id=team_id)


def check_not_team_bound(scope: Scope) -> None:
    """Raise Forbidden if `scope` is bound to one team.

    Call this before an action that affects the user in all teams, or that creates or joins a team.
    """
    if scope.team_id is not None:
        raise Forbidden(team_id=scope.team_id)


def check_in_scope(scope: Scope, team_id: UUID, permission: str) -> None:
    """Raise if `scope` does not allow `permission` in this team.

    Raises NotFound if `scope` is bound to another team, Forbidden if it lacks the scope name.
    """
    if scope.team_id not in (None, team_id):
        raise NotFound
    check_scope(scope, SCOPE_OF_PERMISSION[permission], team_id)
