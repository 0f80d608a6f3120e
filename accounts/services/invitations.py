"""Links that let so many people into a team, for a while."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import F
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import rate_limits
from accounts.audit.log import audit
from accounts.crypto.hashing import generate_secret, hash_secret
from accounts.errors import Forbidden, Invalid, MaruError, NotFound
from accounts.hooks import followers
from accounts.models import Invitation, TeamMember, TeamRole, User
from accounts.permissions import MANAGE_PEOPLE, access_team
from accounts.scopes import check_not_team_bound
from accounts.services.teams import add_team_member, check_can_grant, role_in
from accounts.services.users import normalize_email

LIFETIME: Final = timedelta(days=7)
MAX_LIFETIME: Final = timedelta(days=365)
MAX_USES: Final = 1_000
SIGNUPS_PER_USE: Final = 3  # people mistype addresses, and begin again


@transaction.atomic
def invite(
    *,
    user: User,
    team_id: UUID,
    role: str = TeamRole.MEMBER,
    lifetime: timedelta = LIFETIME,
    max_uses: int = 1,
    email: str = "",
) -> tuple[Invitation, str]:
    """Make a link into the team; return it with its secret token, which nobody can read again.

    With an address it goes there by mail, and is for the one person whose address that is. Raises
    RateLimited: a mail bears words of the sender's, and goes to whomever they name.
    """
    team = access_team(user, team_id, MANAGE_PEOPLE)
    check_can_grant(role, given_by=role_in(team, user.pk), team=team)
    rate_limits.consume(rate_limits.INVITE, user, team_id=team.pk)
    _check_limits(lifetime, max_uses)
    address = normalize_email(email) if email.strip() else ""
    token = generate_secret()
    invitation = Invitation.objects.create(
        team=team,
        role=role,
        digest=hash_secret(token),
        invited_by=user,
        expires_at=timezone.now() + lifetime,
        max_uses=1 if address else max_uses,
        email=address,
    )
    after = {"role": role, "uses": invitation.max_uses}
    audit(user, "invitation.created", invitation.pk, team_id=team.pk, after=after)
    if address:
        transaction.on_commit(lambda: _mail(invitation, token), robust=True)
    return invitation, token


def invitation_url(token: str) -> str:
    """Return the address that an invitation is opened by."""
    return settings.PUBLIC_URL.rstrip("/") + reverse("accounts:invitation_link", args=[token])


def get_invitation(token: str) -> Invitation:
    """Return the invitation of a link that still opens; raises NotFound for every other one."""
    return get_invitation_by_digest(hash_secret(token))


def get_invitation_by_digest(digest: str) -> Invitation:
    """Like `get_invitation`, for those who have kept only the digest."""
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
    """Take `user` into the team by a link, which loses one of its uses by it."""
    return accept_invitation_by_digest(user=user, digest=hash_secret(token))


@transaction.atomic
def accept_invitation_by_digest(*, user: User, digest: str) -> TeamMember:
    """Like `accept_invitation`. Who is in the team already gets Conflict, and no use is lost.

    A credential that is bound to a team lets nobody into another one.
    """
    check_not_team_bound(user.scope)
    invitation = get_invitation_by_digest(digest)
    if invitation.email and not _has_proven(user, invitation.email):
        raise Forbidden(_("This invitation is for another address. Sign in with that one."))
    # The database picks those who get in: everybody else changes no row.
    if not Invitation.objects.usable().filter(pk=invitation.pk).update(uses=F("uses") + 1):
        raise NotFound
    member = add_team_member(invitation.team, user, invitation.role)
    for follower in followers():
        follower.member_joined(member, invitation)
    team_id, given = invitation.team_id, {"role": member.role}
    audit(user, "invitation.accepted", invitation.pk, team_id=team_id, after=given)
    return member


def check_recipient(invitation: Invitation, address: str) -> None:
    """Raise Forbidden where the invitation is for the person with another address."""
    if invitation.email not in ("", address.strip().lower()):
        raise Forbidden(_("This invitation is for another address."))


def count_signup(invitation: Invitation, address: str) -> None:
    """Let one account be made by an invitation; it lets people in, and is no open door.

    Raises Forbidden where it is for somebody else, or has made as many accounts as it may.
    """
    check_recipient(invitation, address)
    most = F("max_uses") * SIGNUPS_PER_USE
    still_may = Invitation.objects.usable().filter(pk=invitation.pk, accounts__lt=most)
    if not still_may.update(accounts=F("accounts") + 1):
        raise Forbidden(_("By this invitation no more accounts are made. Ask for another one."))


@transaction.atomic
def revoke_invitation(*, user: User, team_id: UUID, invitation_id: UUID) -> None:
    """Make a link of the team dead."""
    team = access_team(user, team_id, MANAGE_PEOPLE)
    usable = Invitation.objects.usable().filter(team=team, pk=invitation_id)
    if not usable.update(revoked_at=timezone.now()):
        raise NotFound
    audit(user, "invitation.revoked", invitation_id, team_id=team.pk)


def _check_limits(lifetime: timedelta, max_uses: int) -> None:
    if not timedelta() < lifetime <= MAX_LIFETIME:
        raise Invalid(fields={"expires_at": _("Choose a time to come, within a year.")})
    if not 1 <= max_uses <= MAX_USES:
        raise Invalid(fields={"max_uses": _("Choose a number from 1 to 1,000.")})


def _has_proven(user: User, address: str) -> bool:
    """Where nobody proves addresses, for want of mail, the one of the account must do."""
    own = EmailAddress.objects.filter(user=user, email__iexact=address)
    if settings.ACCOUNT_EMAIL_VERIFICATION == "mandatory":
        own = own.filter(verified=True)
    return bool(own.exists())


def _mail(invitation: Invitation, token: str) -> None:
    words = {"invitation": invitation, "link": invitation_url(token)}
    subject = _("%(name)s invites you to %(team)s") % {
        "name": invitation.invited_by.name,
        "team": invitation.team.name,
    }
    text = render_to_string("accounts/email/invitation.txt", words)
    send_mail(" ".join(subject.split()), text, None, [invitation.email])


def _inviter_still_may(invitation: Invitation) -> bool:
    """A link is no stronger than whoever made it: it dies with their place in the team."""
    inviter, team = invitation.invited_by, invitation.team
    try:
        check_can_grant(invitation.role, given_by=role_in(team, inviter.pk), team=team)
    except MaruError:
        return False
    return inviter.is_active
