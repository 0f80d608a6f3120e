"""The way in by an invitation: from its link to a membership."""

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
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
    """Take the token out of the address: no later page, log line or Referer carries it."""
    try:
        pending_invitation.hold(request, token)
    except NotFound:
        return _closed(request)
    return redirect("accounts:invitation")


@require_http_methods(["GET", "HEAD", "POST"])
@login_not_required
def invitation(request: HttpRequest) -> HttpResponse:
    """Show who invites into which team; a signed-in user accepts by POST."""
    held = pending_invitation.invitation(request)
    if held is None:
        return _closed(request)
    if request.method == "POST":
        return _accept(request, held)
    return render(request, "accounts/invitation.html", {"invitation": held})


def _accept(request: HttpRequest, held: Invitation) -> HttpResponse:
    if not request.user.is_authenticated:
        return redirect_to_login(request.path)
    try:
        accept_invitation_by_digest(user=require_user(request), digest=held.digest)
    except NotFound:
        return _closed(request)
    except Conflict:
        messages.info(request, _("You are in this team already."))
    pending_invitation.let_go(request)
    return redirect(f"{reverse('rooms:home')}?team={held.team_id}")


def _closed(request: HttpRequest) -> HttpResponse:
    """Wrong, used, revoked and too old look the same."""
    return render(request, "accounts/invitation_closed.html", status=404)
