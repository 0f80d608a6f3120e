"""Form posts on what personas ask of people, for a browser without scripts and the home page."""

from collections.abc import Callable
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.errors import Conflict, Invalid
from accounts.permissions import require_user
from accounts.views.error_pages import show_error
from rooms import services
from rooms.models import ToolCall
from rooms.pages.forms import AnswerForm, DecisionForm
from rooms.permissions import VIEW, access_call, access_round


@require_POST
def decide(request: HttpRequest, call_id: UUID) -> HttpResponse:
    """Allow or deny a call; a refusal is shown on the page of its answer."""
    user = require_user(request)
    call = access_call(user, call_id, VIEW)
    form = DecisionForm(request.POST)
    try:
        if not form.is_valid():
            raise Invalid
        services.decide_call(
            user=user,
            call_id=call_id,
            decision="deny" if form.cleaned_data["decision"] == "deny" else "allow",
            extent="run" if form.cleaned_data["decision"] == "allow_for_run" else "call",
            note=form.cleaned_data["note"],
            arguments_sha256=form.cleaned_data["arguments_sha256"],
        )
    except (Conflict, Invalid) as error:
        show_error(request, error)
    return redirect("rooms:home") if "home" in request.POST else _to_answer(call)


@require_POST
def answer(request: HttpRequest, question_id: UUID) -> HttpResponse:
    """Answer a question of a persona."""
    user = require_user(request)
    call = access_call(user, question_id, VIEW)
    form = AnswerForm(request.POST)
    try:
        if not form.is_valid():
            raise Invalid
        choice, text = form.cleaned_data["choice"], form.cleaned_data["text"]
        services.answer_question(
            user=user, question_id=question_id, choice=choice or None, text=text or None
        )
    except (Conflict, Invalid) as error:
        show_error(request, error)
    return _to_answer(call)


@require_POST
def close(request: HttpRequest, question_id: UUID) -> HttpResponse:
    """End a question of a persona with the answers so far."""
    user = require_user(request)
    call = access_call(user, question_id, VIEW)
    try:
        services.close_question(user=user, question_id=question_id)
    except (Conflict, Invalid) as error:
        show_error(request, error)
    return _to_answer(call)


@require_POST
def cancel_round(request: HttpRequest, round_id: UUID) -> HttpResponse:
    """Cancel a round."""
    return _change_round(request, round_id, services.cancel_round)


@require_POST
def skip_step(request: HttpRequest, round_id: UUID) -> HttpResponse:
    """Let a round go on after a step that has failed."""
    return _change_round(request, round_id, services.skip_step)


def _change_round(
    request: HttpRequest, round_id: UUID, change: Callable[..., object]
) -> HttpResponse:
    user = require_user(request)
    round_ = access_round(user, round_id, VIEW)
    try:
        change(user=user, round_id=round_id)
    except (Conflict, Invalid) as error:
        show_error(request, error)
    return redirect("rooms:message", round_.room_id, round_.message_id)


def _to_answer(call: ToolCall) -> HttpResponse:
    run = call.run
    message = run.answer_id or run.message_id
    return redirect(reverse("rooms:message", args=[run.room_id, message]))
