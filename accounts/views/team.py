"""The settings of a team: its name, its people, its invitations."""

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
from accounts.models import Invitation, Team, TeamMember, TeamRole, User
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
class Line:
    """A member in the list, and what whoever looks may do to them."""

    member: TeamMember
    may_go: bool
    may_change: bool
    may_inherit: bool


@require_http_methods(["GET", "POST"])
def general(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """The name of the team: to change for its owners, to read for the others."""
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
    return _general_page(request, user, team, form)


@require_POST
def delete(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Shut the team for everybody; its owners may undo it for a week."""
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
    return _general_page(request, user, team, TeamForm(initial={"name": team.name}), form)


@require_http_methods(["GET", "HEAD", "POST"])
def deleted(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """A team that is to be purged: when, and the way back."""
    user = require_user(request)
    team = access_deleted_team(user, team_id)
    if request.method == "POST":
        restore_team(user=user, team_id=team_id)
        messages.success(request, _("The team is back."))
        return redirect("accounts:team", team_id)
    page = {"team": team, "purged_after": purged_after(team)}
    return render(request, "accounts/team_deleted.html", page)


@require_POST
def set_mfa(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Ask everybody in the team for two-step sign-in, or no longer."""
    user = require_user(request)
    access_team(user, team_id, MANAGE)
    wish = request.POST.get("required")
    if wish not in ("yes", "no"):  # what is not understood must not switch a protection off
        raise Invalid
    try:
        require_mfa(user=user, team_id=team_id, required=wish == "yes")
        messages.success(request, _("Saved."))
    except MaruError as error:
        show_error(request, error)
    return redirect("accounts:team", team_id)


@require_safe
def people(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Who is in the team; for those who look after its people, addresses and invitations too."""
    user = require_user(request)
    return _people_page(request, user, access_team(user, team_id, VIEW))


@require_POST
def invite_somebody(request: HttpRequest, team_id: UUID) -> HttpResponse:
    """Make an invitation. Its link is in this one answer only."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    form = InvitationForm(request.POST, roles=grantable_roles(role_in(team, user.pk)))
    if not form.is_valid():
        if "role" in form.errors:
            raise Invalid(fields={"role": _("Choose one of the roles.")})
        return _people_page(request, user, team, form=form)
    data = form.cleaned_data
    _invitation, token = invite(
        user=user,
        team_id=team_id,
        role=data["role"],
        lifetime=timedelta(days=data["days"]),
        max_uses=data["max_uses"],
        email=data["email"],
    )
    return _people_page(request, user, team, link=invitation_url(token))


@require_POST
def set_role(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Change somebody's role."""
    user = require_user(request)
    team = access_team(user, team_id, MANAGE_PEOPLE)
    role = _role(request, user, team)
    return _settle(
        request,
        team_id,
        lambda: set_team_role(user=user, team_id=team_id, member_id=user_id, role=role),
    )


@require_POST
def suspend(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Take everything in the team from somebody but their seat."""
    user = require_user(request)
    return _settle(
        request,
        team_id,
        lambda: suspend_team_member(user=user, team_id=team_id, member_id=user_id),
    )


@require_POST
def restore(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Give it back."""
    user = require_user(request)
    return _settle(
        request,
        team_id,
        lambda: restore_team_member(user=user, team_id=team_id, member_id=user_id),
    )


@require_POST
def hand_over(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Make somebody else the owner of the team instead of oneself."""
    user = require_user(request)
    return _settle(
        request, team_id, lambda: hand_over_team(user=user, team_id=team_id, member_id=user_id)
    )


@require_POST
def remove(request: HttpRequest, team_id: UUID, user_id: UUID) -> HttpResponse:
    """Take somebody out of the team, or leave it."""
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
    """Make an invitation dead."""
    user = require_user(request)
    revoke_invitation(user=user, team_id=team_id, invitation_id=invitation_id)
    messages.success(request, _("The invitation is revoked."))
    return redirect("accounts:people", team_id)


def _general_page(
    request: HttpRequest,
    user: User,
    team: Team,
    form: TeamForm,
    deletion: DeleteTeamForm | None = None,
) -> HttpResponse:
    forms = {"form": form, "deletion": deletion or DeleteTeamForm()}
    return render(request, "accounts/team.html", {**team_context(user, team, "team"), **forms})


def _settle(request: HttpRequest, team_id: UUID, act: Callable[[], object]) -> HttpResponse:
    """Do something to somebody's place in the team, and show the list again."""
    try:
        act()
        messages.success(request, _("Saved."))
    except MaruError as error:
        show_error(request, error)
    return redirect("accounts:people", team_id)


def _people_page(
    request: HttpRequest,
    user: User,
    team: Team,
    *,
    link: str = "",
    form: InvitationForm | None = None,
) -> HttpResponse:
    page = team_context(user, team, "people")
    roles = grantable_roles(role_in(team, user.pk)) if page["can_manage"] else []
    page |= {"lines": _lines(user, team, roles), "roles": roles, "link": link}
    if page["can_manage"]:
        page["invitations"] = (
            Invitation.objects.usable().filter(team=team).select_related("invited_by")
        )
        page["form"] = form or InvitationForm(roles=roles, initial={"role": TeamRole.MEMBER})
    return render(request, "accounts/people.html", page)


def _lines(user: User, team: Team, roles: list[TeamRole]) -> list[Line]:
    """The members, the highest roles first; `roles` are those that whoever looks may give."""
    members = list(members_visible_to(user, team).select_related("user"))
    owners = [m for m in members if m.role == TeamRole.OWNER and m.suspended_at is None]
    owns = any(owner.user_id == user.pk for owner in owners)
    lines = []
    for member in sorted(members, key=_by_role_and_name):
        may_go = member not in owners or len(owners) > 1
        may_inherit = owns and member.user_id != user.pk and member.suspended_at is None
        lines.append(Line(member, may_go, may_go and member.role in roles, may_inherit))
    return lines


def team_context(user: User, team: Team, section: str) -> dict[str, Any]:
    """What every page of a team's settings shows around itself."""
    permissions = team_permissions(user, team)
    return {
        "team": team,
        "teams": Team.objects.visible_to(user),
        "me": user,
        "can_manage": MANAGE_PEOPLE in permissions,
        "can_rename": MANAGE in permissions,
        "section": section,
    }


def _role(request: HttpRequest, user: User, team: Team) -> str:
    form = RoleForm(request.POST, roles=grantable_roles(role_in(team, user.pk)))
    if not form.is_valid():
        raise Invalid(fields={"role": _("Choose one of the roles.")})
    return str(form.cleaned_data["role"])


def _by_role_and_name(member: TeamMember) -> tuple[int, str]:
    return TeamRole.values.index(member.role), member.user.name.casefold()
