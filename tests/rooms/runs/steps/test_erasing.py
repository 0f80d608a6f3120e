"""Results of tools that have read a message: emptied when the message is deleted or edited."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from agents.engine.tool_results import clean
from agents.tools.catalog import CATALOG
from rooms import services
from rooms.models import CallState, Message, RoomEvent, ToolCall
from rooms.runs.lifecycle import Job
from rooms.runs.steps import journal
from rooms.runs.steps.room_tools import read_message, search_room
from tests.rooms.acting import (
    LOOK,
    complete,
    execute,
    propose,
    request,
    set_policy,
    started,
)
from tests.rooms.conftest import Cast

pytestmark = pytest.mark.django_db


CATALOG_IDS = {tool.key: tool.id for tool in CATALOG}
READ = replace(LOOK, id=CATALOG_IDS["read_message"], name="read_message", sha256="")
SEARCH = replace(LOOK, id=CATALOG_IDS["search_room"], name="search_room", sha256="")


def say(cast: Cast, text: str) -> UUID:
    posted = services.post_message(user=cast.member, room_id=cast.room.pk, text=text, personas=[])
    return posted.message.pk


def delete(cast: Cast, message: UUID) -> None:
    services.delete_message(user=cast.member, message_id=message)


def edit(cast: Cast, message: UUID) -> None:
    services.edit_message(user=cast.member, message_id=message, text="another text")


def call_all(cast: Cast, message: UUID, other: UUID) -> Job:
    """Let a run read one message, search for it, and read another; show the results."""
    room = cast.refreshed()
    read = read_message(room, {"message": str(message)}).text
    found = search_room(room, {"words": "CANARY"}).text
    kept = read_message(room, {"message": str(other)}).text
    assert read.count("CANARY") == found.count("CANARY") == 1
    for tool in (READ, SEARCH):
        set_policy(cast, tool, "always")
    job = started(cast)
    calls = [request(READ), request(SEARCH), request(READ)]
    propose(job, *calls)
    for call, result in zip(calls, (read, found, kept), strict=True):
        execute(job, call.id, result)
        services.show_result(user=cast.member, run_id=job.run, call_id=call.id)
    complete(job)
    return job


@pytest.mark.parametrize("act", [delete, edit])
def test_text_that_tools_have_read_is_in_no_row(
    cast: Cast, act: Callable[[Cast, UUID], None]
) -> None:
    message, other = say(cast, "the CANARY text"), say(cast, "the kept text")
    job = call_all(cast, message, other)

    act(cast, message)

    calls = ToolCall.objects.order_by("position")
    results = [call.result.partition("\n")[2] for call in calls]
    assert results == ["", "", "the kept text"]
    answer = Message.objects.get(pk=job.message)
    assert answer.steps is not None
    assert [step["shown"].partition("\n")[2] for step in answer.steps] == results
    events = RoomEvent.objects.filter(message=job.message).order_by("seq")
    assert not events.filter(payload__contains="CANARY").exists()
    assert all("kept" in e.payload for e in list(events)[-2:])
    assert events.last() == RoomEvent.objects.order_by("seq").last()


@pytest.mark.parametrize("act", [delete, edit])
def test_text_that_changes_before_its_result_is_stored_is_not_kept(
    cast: Cast, act: Callable[[Cast, UUID], None]
) -> None:
    message, other = say(cast, "the CANARY text"), say(cast, "the kept text")
    for tool in (READ, SEARCH):
        set_policy(cast, tool, "always")
    job = started(cast)
    calls = [request(READ), request(SEARCH), request(READ)]
    propose(job, *calls)
    assert all(journal.begin(job, call.id) is None for call in calls)
    room = cast.refreshed()
    results = [
        read_message(room, {"message": str(message)}),
        search_room(room, {"words": "text"}),
        read_message(room, {"message": str(other)}),
    ]

    act(cast, message)
    for call, result in zip(calls, results, strict=True):
        journal.finish(job, call.id, clean(result), 7)

    rows = ToolCall.objects.order_by("position")
    assert [row.result.partition("\n")[2] for row in rows] == ["", "", "the kept text"]
    assert [row.state for row in rows] == [CallState.DONE] * 3


def test_deleted_answer_leaves_nothing_of_its_calls(cast: Cast) -> None:
    job = call_all(cast, say(cast, "the CANARY text"), say(cast, "the kept text"))
    ToolCall.objects.update(extra="CANARY")

    services.delete_message(user=cast.moderator, message_id=job.message)

    assert not ToolCall.objects.exclude(extra="", result="").exists()
