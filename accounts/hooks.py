"""Domain hooks: what the apps above do when users, teams and credentials change.

An app may not import the apps above it. It defines a class of hooks and a `HookRegistry` for
them, and calls the hooks; the apps above register their implementations in `AppConfig.ready`.

A hook runs in the transaction that makes the change. It may raise, which rolls the change back.
Work that must wait for the commit belongs into `transaction.on_commit`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from uuid import UUID

from accounts.models import Invitation, Team, TeamMember, User

HooksT = TypeVar("HooksT")


class HookRegistry(Generic[HooksT]):
    """The implementations of one class of hooks."""

    def __init__(self) -> None:
        self._implementations: list[HooksT] = []

    def register(self, hooks: HooksT) -> None:
        """Add an implementation; a second one of the same class has no effect."""
        if all(type(each) is not type(hooks) for each in self._implementations):
            self._implementations.append(hooks)

    def __iter__(self) -> Iterator[HooksT]:
        """Iterate over the implementations in the order in which their hooks are called.

        It is the reverse of the order of registration. Django calls `ready` in the order of
        INSTALLED_APPS, where rooms is before agents, so the hooks of agents run before those of
        rooms. Rooms must be last: its hooks write audit entries, which locks the audit log until
        the commit, and locks are taken in one order, rows of agents and rooms before the audit log.
        """
        return reversed(self._implementations)


@dataclass(frozen=True, slots=True)
class AccessRevoked:
    """Access that a user has lost: all of it, or only that of the team, token or session named."""

    user_id: UUID
    team_id: UUID | None = None
    token_id: UUID | None = None
    session_key: str | None = None


class AccountHooks:
    """The hooks of this app, which do nothing. An implementation overrides those that it needs."""

    def access_revoked(self, event: AccessRevoked) -> None:
        """A user has lost access to a team, or a credential of the user has been revoked."""

    def member_joined(self, member: TeamMember, invitation: Invitation) -> None:
        """A user has joined a team by an invitation."""

    def member_suspended(self, member: TeamMember) -> None:
        """A member has lost all permissions in a team and stays a member."""

    def member_restored(self, member: TeamMember) -> None:
        """A suspended member has got the permissions in the team back."""

    def member_role_changed(self, member: TeamMember) -> None:
        """A member has another role in a team; a guest sees only the rooms of a membership."""

    def profile_changed(self, user: User) -> None:
        """A user has another name or colour, in every team."""

    def team_deleted(self, team: Team, by: User) -> None:
        """No user has access to a team any more, until it is restored or purged."""

    def team_restored(self, team: Team) -> None:
        """The members of a deleted team have access again."""


account_hooks: Final[HookRegistry[AccountHooks]] = HookRegistry()


def access_revoked(event: AccessRevoked) -> None:
    """Call `access_revoked` of every implementation."""
    for hooks in account_hooks:
        hooks.access_revoked(event)
