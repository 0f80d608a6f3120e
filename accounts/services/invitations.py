"""Invitations: links that admit a limited number of users to a team for a limited time."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Lower
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import rate_limits
from accounts.audit.log import audit, audit_last
from accounts.crypto.hashing import generate_secret, hash_secret
from accounts.errors import Conflict, Forbidden, Invalid, MaruError, NotFound
from accounts.hooks import account_hooks
from accounts.models import Invitation, Team, TeamMember, TeamRole, User
from accounts.permissions import MANAGE_PEOPLE, lock_team
from accounts.scopes import check_not_team_bound
from accounts.services.teams import add_team_member, check_can_grant, role_in
from accounts.services.users import normalize_email

LIFETIME: Final = timedelta(days=7)
MAX_LIFETIME: Final = timedelta(days=365)
MAX_USES: Final = 1_000
MAX_OPEN_INVITATIONS: Final = 200
SIGNUPS_PER_USE: Final = 3  # users mistype their email and sign up again


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
    """Create an invitation; return it with its token, which is not stored.

    With `email`, the link is sent to that address. It works once, for the user who has verified
    the address.
    Rate-limited, because the mail goes to any address and contains names that the sender chose.
    Raises Conflict for the address of a member.
    """
    team = lock_team(user, team_id, MANAGE_PEOPLE)
    check_can_grant(role, own_role=role_in(team, user.pk), team=team)
    rate_limits.consume(rate_limits.INVITE, user, team_id=team.pk)
    if not timedelta() < lifetime <= MAX_LIFETIME:
        message = _("Choose a time in the future, at most one year from now.")
        raise Invalid(fields={"expires_at": message})
    if not 1 <= max_uses <= MAX_USES:
        raise Invalid(fields={"max_uses": _("Choose a number from 1 to 1,000.")})
    recipient = normalize_email(email) if email.strip() else ""
    if recipient and _addresses().filter(_in(team), email__iexact=recipient).exists():
        raise Conflict(_("This person is already in the team."))
    if open_invitations(team).count() >= MAX_OPEN_INVITATIONS:
        raise Conflict(_("This team has 200 open invitations. Revoke one before you invite again."))
    token = generate_secret()
    invitation = Invitation.objects.create(
        team=team,
        role=role,
        digest=hash_secret(token),
        invited_by=user,
        expires_at=timezone.now() + lifetime,
        max_uses=1 if recipient else max_uses,
        email=recipient,
    )
    after = {"role": role, "uses": invitation.max_uses}
    audit(user, "invitation.created", invitation.pk, team_id=team.pk, after=after)
    if recipient:
        transaction.on_commit(lambda: _send_mail(invitation, token), robust=True)
    return invitation, token


def invitation_url(token: str) -> str:
    """Return the public URL of an invitation."""
    return settings.PUBLIC_URL.rstrip("/") + reverse("accounts:invitation_link", args=[token])


def open_invitations(team: Team) -> QuerySet[Invitation]:
    """Return the usable invitations of a team, without those for an address of a member.

    A member may have got the address after the invitation, so this is decided with each query.
    """
    taken = _addresses().filter(_in(team)).values(address=Lower("email"))
    return Invitation.objects.usable().filter(team=team).exclude(email__in=taken)


def get_invitation(token: str) -> Invitation:
    """Return the valid invitation of a token. Raises NotFound."""
    return get_invitation_by_digest(hash_secret(token))


def get_invitation_by_digest(digest: str) -> Invitation:
    """Return the valid invitation whose token has this hash. Raises NotFound."""
    invitation = (
        Invitation.objects.usable()
        .select_related("team", "invited_by")
        .filter(digest=digest)
        .first()
    )
    if invitation is None or not _inviter_can_still_grant(invitation):
        raise NotFound
    return invitation


def accept_invitation(*, user: User, token: str) -> TeamMember:
    """Add `user` to the team of an invitation, and count one use."""
    return accept_invitation_by_digest(user=user, digest=hash_secret(token))


@transaction.atomic
@audit_last()
def accept_invitation_by_digest(*, user: User, digest: str) -> TeamMember:
    """Like `accept_invitation`. Raises Conflict, and counts no use, if the user is a member.

    The team's other invitations for addresses of the user are revoked: a user who is removed later
    must not come back with one of them. A team-bound credential cannot accept an invitation.
    """
    check_not_team_bound(user.scope)
    invitation = get_invitation_by_digest(digest)
    if invitation.email and invitation.email not in _emails_of(user):
        raise Forbidden(_("This invitation is for another email. Sign in with that email."))
    # Look again under the lock that each change of the team's members holds: the author may have
    # lost the right to invite while this transaction waited.
    list(Team.objects.locked().filter(pk=invitation.team_id).values_list("pk"))
    invitation = get_invitation_by_digest(digest)
    # Of concurrent requests for the last use, the UPDATE matches the row for only one.
    if not Invitation.objects.usable().filter(pk=invitation.pk).update(uses=F("uses") + 1):
        raise NotFound
    member = add_team_member(invitation.team, user, invitation.role)
    for hooks in account_hooks:
        hooks.member_joined(member, invitation)
    others = Invitation.objects.usable().filter(team=member.team, email__in=_emails_of(user))
    others.update(revoked_at=timezone.now())
    after = {"role": member.role}
    audit(user, "invitation.accepted", invitation.pk, team_id=invitation.team_id, after=after)
    return member


def check_recipient(invitation: Invitation, email: str) -> None:
    """Raise Forbidden if the invitation is for another email."""
    if invitation.email not in ("", email.strip().lower()):
        raise Forbidden(_("This invitation is for another email. Use that email."))


def count_signup(invitation: Invitation, email: str) -> None:
    """Count one account that is created with the invitation.

    Raises Forbidden if the invitation is for another email, or if SIGNUPS_PER_USE accounts per use
    were created with it: an invitation must not create accounts without limit.
    """
    check_recipient(invitation, email)
    limit = F("max_uses") * SIGNUPS_PER_USE
    counted = Invitation.objects.usable().filter(pk=invitation.pk, accounts__lt=limit)
    if not counted.update(accounts=F("accounts") + 1):
        raise Forbidden(_("This invitation cannot create more accounts. Ask for a new one."))


@transaction.atomic
def revoke_invitation(*, user: User, team_id: UUID, invitation_id: UUID) -> None:
    """Make an invitation of the team unusable. Raises NotFound if it is not usable."""
    team = lock_team(user, team_id, MANAGE_PEOPLE)
    usable = Invitation.objects.usable().filter(team=team, pk=invitation_id)
    if not usable.update(revoked_at=timezone.now()):
        raise NotFound
    audit(user, "invitation.revoked", invitation_id, team_id=team.pk)


def _addresses() -> QuerySet[EmailAddress]:
    """Return the addresses of accounts, only verified ones unless the server cannot send mail."""
    addresses: QuerySet[EmailAddress] = EmailAddress.objects.all()
    if settings.ACCOUNT_EMAIL_VERIFICATION == "mandatory":
        addresses = addresses.filter(verified=True)
    return addresses


def _in(team: Team) -> Q:
    """Return the condition that the account of an address is in the team, even suspended."""
    return Q(user__in=TeamMember.objects.filter(team=team).values("user"))


def _emails_of(user: User) -> list[str]:
    emails = _addresses().filter(user=user).values_list("email", flat=True)
    return [email.lower() for email in emails]


def _send_mail(invitation: Invitation, token: str) -> None:
    context = {"invitation": invitation, "link": invitation_url(token)}
    subject = _("%(name)s invites you to %(team)s") % {
        "name": invitation.invited_by.name,
        "team": invitation.team.name,
    }
    text = render_to_string("accounts/email/invitation.txt", context)
    send_mail(" ".join(subject.split()), text, None, [invitation.email])


def _inviter_can_still_grant(invitation: Invitation) -> bool:
    """Return True if the inviter may still grant the role; else the invitation is not valid."""
    inviter, team = invitation.invited_by, invitation.team
    try:
        check_can_grant(invitation.role, own_role=role_in(team, inviter.pk), team=team)
    except MaruError:
        return False
    return True
