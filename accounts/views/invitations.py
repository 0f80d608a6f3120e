"""The pages of an invitation: its link and its acceptance."""

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.errors import Conflict, NotFound
from accounts.login import pending_invitation
from accounts.models import Invitation
from accounts.permissions import require_user
from accounts.services import accept_invitation_by_digest


@require_safe
@login_not_required
def open_link(request: HttpRequest, token: str) -> HttpResponse:
    """Store the invitation in the session and redirect.

    The token must not be in the URL of a later page, where logs and the Referer header expose it.
    """
    try:
        pending_invitation.store(request, token)
    except NotFound:
        return _invalid_page(request)
    return redirect("accounts:invitation")


@require_http_methods(["GET", "HEAD", "POST"])
@login_not_required
def invitation(request: HttpRequest) -> HttpResponse:
    """Show the inviter and the team; a POST by a signed-in user accepts the invitation."""
    pending = pending_invitation.load(request)
    if pending is None:
        return _invalid_page(request)
    if request.method == "POST":
        return _accept(request, pending)
    return render(request, "accounts/invitation.html", {"invitation": pending})


def _accept(request: HttpRequest, pending: Invitation) -> HttpResponse:
    if not request.user.is_authenticated:
        return redirect_to_login(request.path)
    try:
        accept_invitation_by_digest(user=require_user(request), digest=pending.digest)
    except NotFound:
        return _invalid_page(request)
    except Conflict:
        messages.info(request, _("You are already in this team."))
    pending_invitation.clear(request)
    return redirect("rooms:arrive", pending.team_id)


def _invalid_page(request: HttpRequest) -> HttpResponse:
    """Return the same page for unknown, used, revoked and expired invitations."""
    return render(request, "accounts/invitation_closed.html", status=404)
