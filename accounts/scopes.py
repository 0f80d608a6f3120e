"""How far the credential goes by which somebody came in.

A session reaches all that its user may do. A token may reach less: fewer scopes, one team. The
gates ask `check_reach` with the reach of the acting user, so that a token is no stronger on one
way in than on another, and no endpoint can forget to ask.
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
SCOPES: Final = (READ, WRITE, ADMIN)  # each one holds those before it

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
class Reach:
    """The scopes of a credential, the one team that it is bound to, and its end, if any.

    `token_id` is the token that it is, None for a session; `token_hint` names it in the audit.
    """

    scopes: frozenset[str]
    team_id: UUID | None = None
    until: datetime | None = None
    token_hint: str = field(default="", compare=False)
    token_id: UUID | None = field(default=None, compare=False)

    def covers(self, other: Reach) -> bool:
        """Whether `other` reaches nothing that this one does not, and no longer."""
        return (
            other.scopes <= self.scopes
            and self.team_id in (None, other.team_id)
            and (self.until is None or (other.until is not None and other.until <= self.until))
        )


EVERYWHERE: Final = Reach(frozenset(SCOPES))


def scopes_up_to(names: Iterable[str]) -> frozenset[str]:
    """Return the named scopes with those that they hold: write reads, admin writes."""
    highest = max((SCOPES.index(name) for name in names), default=-1)
    return frozenset(SCOPES[: highest + 1])


def check_scope(reach: Reach, scope: str, team_id: UUID | None = None) -> None:
    """Raise Forbidden if a credential lacks `scope`."""
    if scope not in reach.scopes:
        detail = _("This token lacks the scope “%(scope)s”.") % {"scope": scope}
        raise Forbidden(detail, team_id=team_id)


def check_unbound(reach: Reach) -> None:
    """Raise Forbidden if a credential is bound to a team: the action belongs to no single team."""
    if reach.team_id is not None:
        raise Forbidden(team_id=reach.team_id)


def check_reach(reach: Reach, team_id: UUID, permission: str) -> None:
    """Raise if a credential does not allow `permission` in this team.

    NotFound for a team other than the one that the credential is bound to; Forbidden for a missing
    scope.
    """
    if reach.team_id not in (None, team_id):
        raise NotFound
    check_scope(reach, SCOPE_OF_PERMISSION[permission], team_id)
