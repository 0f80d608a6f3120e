"""Requests pages like a browser without scripts, and reads their content."""

import json
import re
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from agents.engine_types import AnswerFailed, Usage
from rooms import services
from rooms.models import Message, Question, Room, Round, Run, ToolCall
from rooms.runs import lifecycle
from tests.rooms.claiming import claim_run, start_run
from tests.rooms.conftest import Cast

Answer = Any  # the test client adds attributes to the response that no type declares


def browser(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def get(user: User | None, address: str, **cookies: str) -> Answer:
    client = browser(user)
    client.cookies.load(cookies)
    return client.get(address)


def page(user: User, room: Room, query: str = "", **cookies: str) -> str:
    answer = get(user, reverse("rooms:room", args=[room.pk]) + query, **cookies)
    assert answer.status_code == 200
    return str(answer.content.decode())


def messages_on(html: str) -> list[str]:
    """Return the messages of a page, without the messages in its `<template>` elements."""
    shown = re.sub(r"<template.*?</template>", "", html, flags=re.DOTALL)
    return re.findall(r"<article.*?</article>", shown, flags=re.DOTALL)


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script id="room-data"[^>]*>(.*?)</script>', html, flags=re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    data["state"]["messages"] = [
        data["usual"] | each | {"author": data["authors"][each["author"]]}
        for each in data["state"]["messages"]
    ]
    return data


def post(user: User, form: str, /, *args: object, **fields: object) -> Answer:
    return browser(user).post(reverse(f"rooms:{form}", args=args), fields)


def send(user: User, room: Room, text: str, **fields: object) -> Answer:
    return post(user, "post", room.pk, text=text, **{"client_id": uuid4(), **fields})


def say(cast: Cast, user: User, text: str, minutes: float = 0) -> Message:
    """Post a message that was created some minutes ago and starts no run."""
    posted = services.post_message(user=user, room_id=cast.room.pk, text=text, personas=[])
    at = timezone.now() - timedelta(minutes=minutes)
    Message.objects.filter(pk=posted.message.pk).update(created_at=at)
    return posted.message


def ask(cast: Cast) -> Run:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text="question")
    return Run.objects.get(pk=posted.runs[0])


def answer(cast: Cast, text: str = "answer", failure: AnswerFailed | None = None) -> Run:
    """Post a question of the member and end its run with an answer or an error."""
    run = ask(cast)
    assert claim_run("test") == run.pk
    job = start_run(run.pk, "test")
    assert job is not None
    if failure is None:
        lifecycle.complete(job, text, Usage(input_tokens=1_000, output_tokens=234))
    else:
        lifecycle.fail(job, failure, text)
    return Run.objects.get(pk=run.pk)


def acting_ids(run: Run) -> dict[str, UUID]:
    """Return ids for the addresses of what a run does: a call, its question, a round."""
    call = ToolCall.objects.create(
        run=run, request=0, position=0, call_id="call", name="tool", arguments_sha256="0" * 64
    )
    Question.objects.create(call=call, room=run.room, text="?", expires_at=timezone.now())
    round_ = Round.objects.create(room=run.room, message=run.message)
    return {"call_id": call.pk, "question_id": call.pk, "round_id": round_.pk}
