"""Links that let one person into a team, once, for a while."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts.audit import audit
from accounts.digests import digest_of, new_secret
from accounts.errors import Forbidden, MaruError, NotFound
from accounts.gate import MANAGE_PEOPLE, access_team
from accounts.models import Invitation, TeamMember, TeamRole, User
from accounts.services.teams import check_role, put_member, role_in

LIFETIME: Final = timedelta(days=7)


@transaction.atomic
def invite(
    *, user: User, team_id: UUID, role: str = TeamRole.MEMBER, lifetime: timedelta = LIFETIME
) -> tuple[Invitation, str]:
    """Make a link into the team; return it with its secret token, which nobody can read again."""
    team = access_team(user, team_id, MANAGE_PEOPLE)
    check_role(role, given_by=role_in(team, user))
    token = new_secret()
    invitation = Invitation.objects.create(
        team=team,
        role=role,
        digest=digest_of(token),
        invited_by=user,
        expires_at=timezone.now() + lifetime,
    )
    audit(user, "invitation.created", invitation.pk, team_id=team.pk, after={"role": role})
    return invitation, token


def look_up_invitation(token: str) -> Invitation:
    """Return the invitation of a link that still opens; raises NotFound for every other one."""
    return invitation_by_digest(digest_of(token))


def invitation_by_digest(digest: str) -> Invitation:
    """Like `look_up_invitation`, for those who have kept only the digest."""
    invitation = (
        Invitation.objects.usable()
        .select_related("team", "invited_by")
        .filter(digest=digest)
        .first()
    )
    if invitation is None or not _inviter_still_may(invitation):
        raise NotFound
    return invitation


def accept_invitation(*, user: User, token: str) -> TeamMember:
    """Take `user` into the team by a link, which is used up by it."""
    return accept_invitation_by_digest(user=user, digest=digest_of(token))


@transaction.atomic
def accept_invitation_by_digest(*, user: User, digest: str) -> TeamMember:
    """Like `accept_invitation`. Who is in the team already gets Conflict, and the link lives on.

    A credential that is bound to a team lets nobody into another one.
    """
    if user.reach.team_id is not None:
        raise Forbidden
    invitation = invitation_by_digest(digest)
    # The database picks the one who gets it: everybody else changes no row.
    taken = Invitation.objects.usable().filter(pk=invitation.pk)
    if not taken.update(accepted_by=user, accepted_at=timezone.now()):
        raise NotFound
    member = put_member(invitation.team, user, invitation.role)
    team_id, given = invitation.team_id, {"role": member.role}
    audit(user, "invitation.accepted", invitation.pk, team_id=team_id, after=given)
    return member


@transaction.atomic
def revoke_invitation(*, user: User, team_id: UUID, invitation_id: UUID) -> None:
    """Make a link of the team dead."""
    team = access_team(user, team_id, MANAGE_PEOPLE)
    usable = Invitation.objects.usable().filter(team=team, pk=invitation_id)
    if not usable.update(revoked_at=timezone.now()):
        raise NotFound
    audit(user, "invitation.revoked", invitation_id, team_id=team.pk)


def _inviter_still_may(invitation: Invitation) -> bool:
    """A link is no stronger than whoever made it: it dies with their place in the team."""
    inviter = invitation.invited_by
    try:
        check_role(invitation.role, given_by=role_in(invitation.team, inviter))
    except MaruError:
        return False
    return inviter.is_active
