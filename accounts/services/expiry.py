"""Deletes credentials that can no longer be used: sessions, tokens, invitations, setup links."""

from datetime import timedelta
from typing import Final

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.database import delete_in_batches
from accounts.models import ApiToken, Invitation, SetupLink

KEPT: Final = timedelta(days=7)
"""How long an expired token or invitation is kept, so that its owner can see why it fails."""


def purge_expired() -> int:
    """Delete expired sessions, tokens and invitations and used setup links; return their number.

    An invitation that is used up or revoked is deleted when it would have expired, because its row
    says who has joined with it. A session that has ended is deleted from the list of its user, too.
    """
    now = timezone.now()
    listed = Exists(Session.objects.filter(session_key=OuterRef("session_key")))
    return sum(
        delete_in_batches(rows)
        for rows in (
            Session.objects.filter(expire_date__lt=now),
            UserSession.objects.filter(~listed),
            ApiToken.objects.filter(expires_at__lt=now - KEPT),
            Invitation.objects.filter(expires_at__lt=now - KEPT),
            SetupLink.objects.filter(Q(expires_at__lt=now) | Q(used_at__lt=now)),
        )
    )
