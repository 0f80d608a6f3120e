"""The settings of a team: general settings, members and invitations."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.errors import Invalid, MaruError
from accounts.models import Team, TeamMember, TeamRole, User
from accounts.permissions import (
    MANAGE,
    MANAGE_PEOPLE,
    VIEW,
    access_deleted_team,
    access_team,
    require_user,
    team_permissions,
)
from accounts.services import (
    delete_team,
    hand_over_team,
    invitation_url,
    invite,
    open_invitations,
    remove_team_member,
    rename_team,
    require_mfa,
    restore_team,
    restore_team_member,
    revoke_invitation,
    set_team_role,
    suspend_team_member,
)
from accounts.services.teams import grantable_roles, members_visible_to, purged_after, role_in
from accounts.views.error_pages import show_error
from accounts.views.forms import DeleteTeamForm, InvitationForm, RoleForm, TeamForm


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member in the list, and the actions that the viewer may take on this member."""

    member: TeamMember
    may_remove: bool
    may_change: bool
    may_own: bool


@require_http_methods(["GET", "POST"])
def general(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Show the general settings of the team; owners change its name."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE if request.method == "POST" else VIEW)
    form = TeamForm(request.POST or None, initial={"name": team.name})
    if form.is_valid():
        try:
            rename_team(user=user, team_id=team_id, name=form.cleaned_data["name"])
        except MaruError as error:
            show_error(request, error, form)
        else:
            messages.success(request, _("Saved."))
            return redirect("accounts:team", team_id)
    return _render_general(request, user, team, form)


@require_POST
def delete(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Delete the team; its owners can restore it for 7 days."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE)
    form = DeleteTeamForm(request.POST)
    if form.is_valid():
        try:
            delete_team(user=user, team_id=team_id, name=form.cleaned_data["name"])
        except MaruError as error:
            show_error(request, error, form)
        else:
            return redirect("accounts:team_deleted", team_id)
    return _render_general(request, user, team, TeamForm(initial={"name": team.name}), form)


@require_http_methods(["GET", "HEAD", "POST"])
def deleted(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Show when a deleted team will be purged; a POST restores it."""
    user = require_user(request)
    team = access_deleted_team(user, team_id)
    if request.method == "POST":
        restore_team(user=user, team_id=team_id)
        messages.success(request, _("The team is restored."))
        return redirect("accounts:team", team_id)
    context = {"team": team, "purged_after": purged_after(team)}
    return render(request, "accounts/team_deleted.html", context)


@require_POST
def set_mfa_requirement(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Set whether the team requires two-step sign-in."""
    user = require_user(request)
    access_team(user, team_id, MANAGE)
    required = request.POST.get("required")
    if required not in ("yes", "no"):  # an unknown value must not end the requirement
        raise Invalid
    try:
        require_mfa(user=user, team_id=team_id, required=required == "yes")
        messages.success(request, _("Saved."))
    except MaruError as error:
        show_error(request, error)
    return redirect("accounts:team", team_id)


@require_safe
def people(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """List the members; users who may manage members also see emails and invitations."""
    user = require_user(request)
    return _render_people(request, user, access_team(user, team_id, VIEW))


@require_POST
def create_invitation(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Create an invitation. Only this response contains its link."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    form = InvitationForm(request.POST, roles=grantable_roles(role_in(team, user.pk)))
    if not form.is_valid():
        if "role" in form.errors:
            raise Invalid(fields={"role": _("Choose one of the roles.")})
        return _render_people(request, user, team, form=form)
    data = form.cleaned_data
    _invitation, token = invite(
        user=user,
        team_id=team_id,
        role=data["role"],
        lifetime=timedelta(days=data["days"]),
        max_uses=data["max_uses"],
        email=data["email"],
    )
    return _render_people(request, user, team, link=invitation_url(token))


@require_POST
def set_role(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Change the role of a member."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    form = RoleForm(request.POST, roles=grantable_roles(role_in(team, user.pk)))
    if not form.is_valid():
        raise Invalid(fields={"role": _("Choose one of the roles.")})
    role = form.cleaned_data["role"]
    return _change_member(
        request,
        team_id,
        lambda: set_team_role(user=user, team_id=team_id, member_id=user_id, role=role),
    )


@require_POST
def suspend(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Suspend a member."""
    user = require_user(request)
    return _change_member(
        request,
        team_id,
        lambda: suspend_team_member(user=user, team_id=team_id, member_id=user_id),
    )


@require_POST
def restore(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Restore a suspended member."""
    user = require_user(request)
    return _change_member(
        request,
        team_id,
        lambda: restore_team_member(user=user, team_id=team_id, member_id=user_id),
    )


@require_POST
def hand_over(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Make a member the owner instead of the user."""
    user = require_user(request)
    return _change_member(
        request, team_id, lambda: hand_over_team(user=user, team_id=team_id, member_id=user_id)
    )


@require_POST
def remove(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Remove a member, or leave the team."""
    user = require_user(request)
    try:
        remove_team_member(user=user, team_id=team_id, member_id=user_id)
    except MaruError as error:
        show_error(request, error)
        return redirect("accounts:people", team_id)
    if user_id == user.pk:
        return redirect("rooms:home")
    messages.success(request, _("Removed."))
    return redirect("accounts:people", team_id)


@require_POST
def revoke(request: HttpRequest, team_id: UUID, invitation_id: UUID) -> HttpResponse:
    """Revoke an invitation."""
    user = require_user(request)
    revoke_invitation(user=user, team_id=team_id, invitation_id=invitation_id)
    messages.success(request, _("The invitation is revoked."))
    return redirect("accounts:people", team_id)


def _render_general(
    request: HttpRequest,
    user: User,
    team: Team,
    form: TeamForm,
    deletion: DeleteTeamForm | None = None,
) -> HttpResponse:
    forms = {"form": form, "deletion": deletion or DeleteTeamForm()}
    return render(request, "accounts/team.html", {**team_context(user, team, "team"), **forms})


def _change_member(
    request: HttpRequest, team_id: UUID, change: Callable[[], object]
) -> HttpResponse:
    """Call a service that changes a member, then show its result on the list of members."""
    try:
        change()
        messages.success(request, _("Saved."))
    except MaruError as error:
        show_error(request, error)
    return redirect("accounts:people", team_id)


def _render_people(
    request: HttpRequest,
    user: User,
    team: Team,
    *,
    link: str = "",
    form: InvitationForm | None = None,
) -> HttpResponse:
    context = team_context(user, team, "people")
    roles = grantable_roles(role_in(team, user.pk)) if context["can_manage"] else []
    context |= {"rows": _member_rows(user, team, roles), "roles": roles, "link": link}
    if context["can_manage"]:
        context["invitations"] = open_invitations(team).select_related("invited_by")
        context["form"] = form or InvitationForm(roles=roles, initial={"role": TeamRole.MEMBER})
    return render(request, "accounts/people.html", context)


def _member_rows(user: User, team: Team, roles: list[TeamRole]) -> list[MemberRow]:
    """Return the members by role and name; `roles` are the roles that `user` may grant."""
    members = list(members_visible_to(user, team).select_related("user"))
    owners = [m for m in members if m.role == TeamRole.OWNER and m.is_active]
    is_owner = any(owner.user_id == user.pk for owner in owners)
    rows = []
    for member in sorted(members, key=_by_role_and_name):
        may_remove = member not in owners or len(owners) > 1
        may_own = is_owner and member.user_id != user.pk and member.is_active
        rows.append(MemberRow(member, may_remove, may_remove and member.role in roles, may_own))
    return rows


def team_context(user: User, team: Team, section: str) -> dict[str, Any]:
    """Return the template context that all pages of team settings share."""
    permissions = team_permissions(user, team)
    return {
        "team": team,
        "teams": Team.objects.visible_to(user),
        "me": user,
        "can_manage": MANAGE_PEOPLE in permissions,
        "can_rename": MANAGE in permissions,
        "section": section,
    }


def _by_role_and_name(member: TeamMember) -> tuple[int, str]:
    return TeamRole.values.index(member.role), member.user.name.casefold()
