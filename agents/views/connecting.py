"""The steps that give a persona a model: connect a provider, check it, choose a model."""

import re
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from accounts.errors import MaruError
from accounts.particles import fill
from accounts.permissions import access_team, require_user
from accounts.views.error_pages import show_error
from agents import services
from agents.models import ConnectionKind, Persona
from agents.permissions import CHANGE, MANAGE, access_persona
from agents.services.connection_check import CheckResult
from agents.views.connection_forms import ConnectionForm
from agents.views.settings_page import check_team, render_settings_page

_ROOM: Final = re.compile(r"/rooms/[0-9a-f-]{36}/")


class ModelForm(forms.Form):
    """A model of one of the team's providers: the id of the connection, a space, the model."""

    model = forms.ChoiceField(label=gettext_lazy("Model"))

    def __init__(self, *args: Any, persona: Persona, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        providers = persona.team.connections.exclude(kind=ConnectionKind.DEMO).order_by("name")
        field = self.fields["model"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            (one.name, [(f"{one.pk} {model}", model) for model in one.model_names])
            for one in providers
        ]
        self.has_models = any(models for _name, models in field.choices)


@require_http_methods(["GET", "HEAD", "POST"])
def connect_model(request: HttpRequest, team_id: UUID, persona_id: UUID) -> HttpResponse:
    """Show the steps; a POST of the first form connects a provider, of the second sets the model.

    `?next=` or the page before is the room to which the user returns at the end.
    """
    user = require_user(request)
    access_team(user, team_id, MANAGE)
    persona = access_persona(user, persona_id, CHANGE)
    check_team(persona, team_id)
    back = _room(request)
    if "model" in request.POST:
        return _choose(request, persona, back)
    if request.method == "POST":
        return _connect(request, persona, back)
    return _page(request, persona, back)


def _connect(request: HttpRequest, persona: Persona, back: str) -> HttpResponse:
    """Check the provider and, if the check succeeds, save the connection."""
    user = require_user(request)
    data = request.POST.copy()
    data["kind"] = ConnectionKind.OPENAI
    checked = services.check_new_connection(
        user=user,
        team_id=persona.team_id,
        kind=ConnectionKind.OPENAI,
        base_url=data.get("base_url", ""),
        key=data.get("key", ""),
        model=data.get("models", "").partition("\n")[0].strip(),
    )
    form = ConnectionForm(data, listed_models=checked.models)
    if not checked.ok or not form.is_valid():
        return _page(request, persona, back, form=form, result=checked)
    try:
        services.create_connection(user=user, team_id=persona.team_id, **form.new_values())
    except MaruError as error:
        show_error(request, error, form)
        return _page(request, persona, back, form=form)
    messages.success(request, checked.detail)
    here = reverse("agents:connect_model", args=[persona.team_id, persona.pk])
    return redirect(f"{here}?next={back}")


def _choose(request: HttpRequest, persona: Persona, back: str) -> HttpResponse:
    form = ModelForm(request.POST, persona=persona)
    if not form.is_valid():
        return _page(request, persona, back, choice=form)
    connection, _space, model = form.cleaned_data["model"].partition(" ")
    try:
        saved = services.update_persona(
            user=require_user(request),
            persona_id=persona.pk,
            connection=UUID(connection),
            model=model,
        )
    except MaruError as error:
        show_error(request, error, form)
        return _page(request, persona, back, choice=form)
    answers = {"name": saved.name, "model": model}
    words = fill(_("%(name)s answers with %(model)s now. Ask something."), answers)
    messages.success(request, words)
    return redirect(back or "rooms:home")


def _page(
    request: HttpRequest,
    persona: Persona,
    back: str,
    *,
    form: ConnectionForm | None = None,
    choice: ModelForm | None = None,
    result: CheckResult | None = None,
) -> HttpResponse:
    return render_settings_page(
        request,
        "agents/connect_model.html",
        persona.team,
        section="personas",
        persona=persona,
        current_persona_id=persona.pk,
        form=form or ConnectionForm(),
        choice=choice or ModelForm(persona=persona),
        result=result,
        next=back,
    )


def _room(request: HttpRequest) -> str:
    """Return the path of the room to return to; empty if the user comes from another page."""
    asked = request.POST.get("next") or request.GET.get("next")
    path = asked or urlsplit(request.headers.get("Referer", "")).path
    return path if _ROOM.fullmatch(path) else ""
