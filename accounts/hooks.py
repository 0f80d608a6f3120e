"""What becomes of teams and of people's places in them, told to whoever follows it.

The apps above this one hang things on a membership, and this one may not know them: so each names
a follower here when it starts (`AppConfig.ready`). It is called inside the transaction that makes
the change, and raises to undo it; what must wait for the commit, waits there.
"""

from typing import Protocol

from accounts.models import Invitation, Team, TeamMember, User


class Follower(Protocol):
    """What a follower is told."""

    def member_joined(self, member: TeamMember, invitation: Invitation) -> None:
        """Somebody has come into a team by an invitation."""

    def member_suspended(self, member: TeamMember) -> None:
        """Somebody keeps their seat in a team and loses all that goes with it."""

    def member_restored(self, member: TeamMember) -> None:
        """They get it back."""

    def member_role_changed(self, member: TeamMember) -> None:
        """Somebody is in a team as something else; a guest sees only what they were added to."""

    def profile_changed(self, user: User) -> None:
        """Somebody is called or coloured otherwise, in every team."""

    def team_deleted(self, team: Team, by: User) -> None:
        """Nobody gets into a team any more, until it is restored or purged."""

    def team_restored(self, team: Team) -> None:
        """Everybody gets in again."""


_followers: list[Follower] = []


def follow(follower: Follower) -> None:
    """Have a follower told of each change; naming it twice is the same as once."""
    if follower not in _followers:
        _followers.append(follower)


def followers() -> list[Follower]:
    """Return every follower, in the order in which they were named."""
    return list(_followers)
