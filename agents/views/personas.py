"""The pages of personas: a list, the studio (create and edit), grants, versions, deletion."""

from collections.abc import Iterable
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import MaruError
from accounts.models import TeamMember, TeamRole
from accounts.permissions import access_team, require_user, team_permissions
from accounts.services.people import matching_members
from accounts.views.error_pages import show_error
from accounts.views.lists import ListPage, list_page, typed_words
from agents import services
from agents.models import Persona
from agents.permissions import (
    CHANGE,
    EDIT,
    MANAGE,
    SHARE,
    access_persona,
    matching_personas,
    rights_in,
)
from agents.services import Grant
from agents.views.persona_forms import GrantsForm, PersonaForm
from agents.views.settings_page import check_team, render_settings_page
from agents.views.versions import VERSIONS_SHOWN, version_rows


@require_GET
def index(request: HttpRequest, team_id: UUID) -> HttpResponse:
    team = access_team(require_user(request), team_id, MANAGE)
    words, after = typed_words(request.GET.get("q", "")), request.GET.get("after", "")
    found = matching_personas(team.personas.select_related("connection"), words)
    return render_settings_page(
        request,
        "agents/personas.html",
        team,
        section="personas",
        page=list_page(found, words=words, after=after),
        has_connections=team.connections.exists(),
    )


@require_http_methods(["GET", "POST"])
def create(request: HttpRequest, team_id: UUID) -> HttpResponse:
    team = access_team(require_user(request), team_id, MANAGE)
    form = PersonaForm(request.POST or None, team=team, may_free_tools=True)
    if form.is_valid():
        try:
            persona = services.create_persona(
                user=require_user(request), team_id=team_id, **form.values()
            )
        except MaruError as error:
            show_error(request, error, form)
        else:
            messages.success(request, _("%(name)s can answer now.") % {"name": persona.name})
            return redirect("agents:persona", team_id, persona.pk)
    return render_settings_page(request, "agents/studio.html", team, section="personas", form=form)


@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, team_id: UUID, persona_id: UUID) -> HttpResponse:
    persona = _persona(request, team_id, persona_id, EDIT)
    may_free_tools = MANAGE in team_permissions(require_user(request), persona.team)
    form = PersonaForm(
        request.POST or None, team=persona.team, persona=persona, may_free_tools=may_free_tools
    )
    if form.is_valid():
        try:
            saved = services.update_persona(
                user=require_user(request),
                persona_id=persona_id,
                version=form.cleaned_data["version"],
                **form.values(),
            )
        except MaruError as error:
            show_error(request, error, form)
        else:
            _report_saved(request, before=persona, after=saved)
            return redirect("agents:persona", team_id, persona_id)
    return render_settings_page(
        request,
        "agents/studio.html",
        persona.team,
        section="personas",
        persona=persona,
        current_persona_id=persona.pk,
        form=form,
        versions=version_rows(persona),
        versions_shown=VERSIONS_SHOWN,
        next_version=persona.version + 1,
        rights=rights_in(require_user(request), persona),
        tab="aside" if request.GET.get("show") == "versions" else "main",
    )


@require_http_methods(["GET", "POST"])
def grants(request: HttpRequest, team_id: UUID, persona_id: UUID) -> HttpResponse:
    """Show and replace the grants of a persona. Owners and admins always have all rights."""
    persona = _persona(request, team_id, persona_id, SHARE)
    held = services.list_grants(persona)
    others = TeamMember.objects.active().filter(team=team_id).select_related("user")
    others = others.exclude(role__in=(TeamRole.OWNER, TeamRole.ADMIN))
    page = _members_with_grants(request, others, team_id, held)
    # Grants of people whose field was not sent stay as they are.
    sent = others.filter(user__in=GrantsForm.people_in(request.POST)) if request.POST else page.rows
    people = [member.user for member in sent]
    form = GrantsForm(request.POST or None, grants=held, people=people)
    if form.is_valid():
        try:
            services.put_grants(
                user=require_user(request), persona_id=persona_id, grants=form.grants()
            )
        except MaruError as error:
            show_error(request, error, form)
        else:
            messages.success(request, _("Saved."))
            return redirect("agents:persona_grants", team_id, persona_id)
    return render_settings_page(
        request,
        "agents/grants.html",
        persona.team,
        section="personas",
        persona=persona,
        current_persona_id=persona.pk,
        form=form,
        page=page,
        has_others=others.exists(),
    )


@require_POST
def restore(request: HttpRequest, team_id: UUID, persona_id: UUID, number: int) -> HttpResponse:
    persona = _persona(request, team_id, persona_id, EDIT)
    try:
        saved = services.restore_persona(
            user=require_user(request), persona_id=persona_id, number=number
        )
    except MaruError as error:
        show_error(request, error)
    else:
        _report_saved(request, before=persona, after=saved)
    return redirect("agents:persona", team_id, persona_id)


@require_POST
def switch(request: HttpRequest, team_id: UUID, persona_id: UUID) -> HttpResponse:
    _persona(request, team_id, persona_id, CHANGE)
    services.set_persona_enabled(
        user=require_user(request),
        persona_id=persona_id,
        enabled=request.POST.get("enabled") == "on",
    )
    return redirect("agents:persona", team_id, persona_id)


@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, team_id: UUID, persona_id: UUID) -> HttpResponse:
    persona = _persona(request, team_id, persona_id, CHANGE)
    if request.method == "POST":
        services.delete_persona(user=require_user(request), persona_id=persona_id)
        messages.success(request, _("%(name)s is deleted.") % {"name": persona.name})
        return redirect("agents:personas", team_id)
    return render_settings_page(
        request,
        "agents/persona_delete.html",
        persona.team,
        section="personas",
        persona=persona,
        current_persona_id=persona.pk,
    )


def _members_with_grants(
    request: HttpRequest, members: QuerySet[TeamMember], team_id: UUID, held: Iterable[Grant]
) -> ListPage[TeamMember]:
    """Return the members with grants of their own; with `?q=`, the members that it finds."""
    words, after = typed_words(request.GET.get("q", "")), request.GET.get("after", "")
    if words:
        found = matching_members(members, team_id, words)
    else:
        found = members.filter(user__in=[grant.user for grant in held if grant.user])
    return list_page(found, words=words, after=after, by="name_key")


def _persona(request: HttpRequest, team_id: UUID, persona_id: UUID, right: str) -> Persona:
    persona = access_persona(require_user(request), persona_id, right)
    check_team(persona, team_id)
    return persona


def _report_saved(request: HttpRequest, *, before: Persona, after: Persona) -> None:
    if after.version == before.version:
        messages.info(request, _("Nothing has changed, so there is no new version."))
    else:
        messages.success(request, _("Saved as version %(number)s.") % {"number": after.version})
