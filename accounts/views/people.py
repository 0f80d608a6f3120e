"""The members of a team: the list, the page of one member; `rooms.pages` makes invitations."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.errors import Invalid, MaruError, NotFound
from accounts.models import Team, TeamMember, TeamRole, User
from accounts.permissions import MANAGE_PEOPLE, VIEW, access_team, require_user
from accounts.services import (
    hand_over_team,
    open_invitations,
    remove_team_member,
    restore_team_member,
    revoke_invitation,
    set_team_role,
    suspend_team_member,
)
from accounts.services.people import matching_members, members_after
from accounts.services.teams import grantable_roles, members_visible_to, role_in
from accounts.views import finder
from accounts.views.error_pages import show_error
from accounts.views.forms import RoleForm
from accounts.views.lists import PAGE_SIZE, as_page, list_page, typed_words
from accounts.views.team import team_context

INVITATIONS_SHOWN = 20


@require_safe
def people(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """List the members; users who may manage members also see emails and invitations."""
    user = require_user(request)
    team = access_team(user, team_id, VIEW)
    visible = members_visible_to(user, team)
    words, after = typed_words(request.GET.get("q", "")), request.GET.get("after", "")
    rows, has_more = members_after(matching_members(visible, team.pk, words), after, PAGE_SIZE)
    context = team_context(user, team, "people") | {
        "page": as_page(rows, words=words, after=after, has_more=has_more),
        "count": visible.count(),
    }
    if context["can_manage"]:
        context["invitations"] = list_page(
            open_invitations(team).select_related("invited_by"),
            after=request.GET.get("invited", ""),
            by="-created_at",
            size=INVITATIONS_SHOWN,
        )
    return render(request, "accounts/people.html", context)


@require_safe
def find_people(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Return the members that `?q=` finds as JSON, for the script of a finder."""
    user = require_user(request)
    team = access_team(user, team_id, VIEW)
    return finder.found_as_json(request, finder.people(members_visible_to(user, team), team_id))


@require_safe
def member(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Show a member, and the actions that the user may take on the member."""
    user = require_user(request)
    team = access_team(user, team_id, VIEW)
    shown = members_visible_to(user, team).select_related("user").filter(user=user_id).first()
    if shown is None:
        raise NotFound
    context = team_context(user, team, "people") | {"member": shown}
    context |= _actions(user, team, shown, can_manage=context["can_manage"])
    return render(request, "accounts/member.html", context)


@require_POST
def revoke(request: HttpRequest, team_id: UUID, invitation_id: UUID) -> HttpResponse:
    """Revoke an invitation."""
    user = require_user(request)
    revoke_invitation(user=user, team_id=team_id, invitation_id=invitation_id)
    messages.success(request, _("The invitation is revoked."))
    return redirect("accounts:people", team_id)


@require_POST
def set_role(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Change the role of a member."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    form = RoleForm(request.POST, roles=grantable_roles(role_in(team, user.pk)))
    if not form.is_valid():
        raise Invalid(fields={"role": _("Choose one of the roles.")})
    role = form.cleaned_data["role"]
    return _change_member(request, team_id, user_id, set_team_role, role=role)


@require_POST
def suspend(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Suspend a member."""
    return _change_member(request, team_id, user_id, suspend_team_member)


@require_POST
def restore(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Restore a suspended member."""
    return _change_member(request, team_id, user_id, restore_team_member)


@require_POST
def hand_over(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Make a member the owner instead of the user."""
    return _change_member(request, team_id, user_id, hand_over_team)


@require_POST
def remove(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Remove a member, or leave the team."""
    user = require_user(request)
    try:
        remove_team_member(user=user, team_id=team_id, member_id=user_id)
    except MaruError as error:
        show_error(request, error)
        return redirect("accounts:member", team_id, user_id)
    if user_id == user.pk:
        return redirect("rooms:home")
    messages.success(request, _("Removed."))
    return redirect("accounts:people", team_id)


def _change_member(
    request: HttpRequest,
    team_id: UUID,
    user_id: UUID,
    change: Callable[..., object],
    **values: str,
) -> HttpResponse:
    """Call a service that changes a member, then show its result on the page of the member."""
    try:
        change(user=require_user(request), team_id=team_id, member_id=user_id, **values)
        messages.success(request, _("Saved."))
    except MaruError as error:
        show_error(request, error)
    return redirect("accounts:member", team_id, user_id)


def _actions(user: User, team: Team, shown: TeamMember, *, can_manage: bool) -> dict[str, Any]:
    """Return the actions that `user` may take on a member, for the template."""
    own_role = role_in(team, user.pk)
    roles = grantable_roles(own_role) if can_manage else []
    owners = TeamMember.objects.active().filter(team=team, role=TeamRole.OWNER)
    is_last_owner = not owners.exclude(pk=shown.pk).exists()
    may_remove = not (is_last_owner and shown.role == TeamRole.OWNER and shown.is_active)
    is_me = shown.user_id == user.pk
    return {
        "roles": roles,
        "may_leave": is_me and may_remove,
        "may_change": may_remove and shown.role in roles,
        "may_own": own_role == TeamRole.OWNER and not is_me and shown.is_active,
    }
