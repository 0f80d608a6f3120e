"""Domain hooks: functions of the apps above that run when users, teams and credentials change.

An app may not import the apps above it. It defines a class of hooks and a `HookRegistry` for
them, and calls the hooks; the apps above register their implementations in `AppConfig.ready`.

A hook runs in the transaction that makes the change. It may raise, which rolls the change back.
Work that must wait for the commit belongs in `transaction.on_commit`.
"""

from collections.abc import Collection, Iterator
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

        The order is the reverse of the registration. Django calls `ready` in the order of
        INSTALLED_APPS, where rooms is before agents, so the hooks of agents run before the hooks
        of rooms. The hooks of rooms must run last: they write audit entries, which locks the audit
        log until the commit. To avoid deadlocks, each service locks rows of agents and rooms before
        the audit log.
        """
        return reversed(self._implementations)


@dataclass(frozen=True, slots=True)
class AccessRevoked:
    """A user has lost access to one team, or by one token or session, or, without these, all."""

    user_id: UUID
    team_id: UUID | None = None
    token_id: UUID | None = None
    session_key: str | None = None


class AccountHooks:
    """Hooks that do nothing. An implementation overrides the hooks that it needs."""

    def access_revoked(self, event: AccessRevoked) -> None:
        """A user has lost access to a team, or a credential of the user has been revoked."""

    def member_joined(self, member: TeamMember, invitation: Invitation) -> None:
        """A user has joined a team by an invitation."""

    def member_suspended(self, member: TeamMember) -> None:
        """A member of a team has lost all permissions in it; the membership remains."""

    def member_restored(self, member: TeamMember) -> None:
        """The permissions of a suspended member in the team have been restored."""

    def member_role_changed(self, member: TeamMember) -> None:
        """The role of a member in a team has changed. A guest sees only rooms that they are in."""

    def account_suspended(self, user: User) -> None:
        """The account of a user has been deactivated: the user has no access to any team."""

    def account_restored(self, user: User) -> None:
        """The account of a user has been reactivated, with the access of the memberships."""

    def access_blocked(self, users: Collection[User], teams: Collection[Team]) -> None:
        """Members have no access to the teams until they set up the second factor."""

    def profile_changed(self, user: User) -> None:
        """The name or the colour of a user has changed, in every team."""

    def team_closing(self, team: Team, by: User) -> None:
        """A team will be deleted. Runs outside of a transaction, for what takes several of them."""

    def team_deleted(self, team: Team, by: User) -> None:
        """A team has been deleted: no user has access to it unless it is restored."""

    def team_expired(self, team_id: UUID) -> None:
        """A deleted team can no longer be restored, and its rows will be deleted next.

        Runs outside of a transaction, so that many rows can be deleted in several transactions.
        """

    def team_restored(self, team: Team) -> None:
        """The members of a deleted team have access again."""


account_hooks: Final[HookRegistry[AccountHooks]] = HookRegistry()


def access_revoked(event: AccessRevoked) -> None:
    """Call `access_revoked` of every implementation."""
    for hooks in account_hooks:
        hooks.access_revoked(event)
