"""Results of tools that have read a message: emptied when the message is deleted or edited."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Concat
from django.test.utils import CaptureQueriesContext

from agents.engine.tool_results import clean
from agents.tools.catalog import CATALOG
from rooms import services
from rooms.models import CallState, Message, Quote, RoomEvent, ToolCall
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
    read = read_message(room, {"message": str(message)})
    found = search_room(room, {"words": "CANARY"})
    kept = read_message(room, {"message": str(other)})
    assert read.text.count("CANARY") == found.text.count("CANARY") == 1
    for tool in (READ, SEARCH):
        set_policy(cast, tool, "always")
    job = started(cast)
    calls = [request(READ), request(SEARCH), request(READ)]
    propose(job, *calls)
    for call, result in zip(calls, (read, found, kept), strict=True):
        execute(job, call.id, clean(result))
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


def test_deletion_empties_results_that_an_earlier_version_has_stored(cast: Cast) -> None:
    """The migration finds the messages in the results, and no message of another room."""
    message, other = say(cast, "the CANARY text"), say(cast, "the kept text")
    elsewhere = services.create_room(user=cast.member, team_id=cast.team.pk, name="elsewhere")
    foreign = services.post_message(user=cast.member, room_id=elsewhere.pk, text="foreign").message
    call_all(cast, message, other)
    ToolCall.objects.filter(position=2).update(
        result=Concat("result", Value(f" {foreign.pk} {uuid4()}"))
    )
    Quote.objects.all().delete()

    migration = import_module("rooms.migrations.0034_quotes_of_results")
    for _twice in range(2):  # after an interruption it is repeated
        migration.store_quotes(apps, None)
    delete(cast, message)

    assert set(Quote.objects.values_list("message", flat=True)) == {other}
    assert not ToolCall.objects.filter(result__contains="CANARY").exists()
    assert ToolCall.objects.filter(result__contains="kept").count() == 1


def test_deletion_reads_only_the_calls_that_quote_the_message(cast: Cast) -> None:
    message, other = say(cast, "the CANARY text"), say(cast, "the kept text")
    call_all(cast, message, other)
    third = say(cast, "read by no call")

    with CaptureQueriesContext(connection) as captured:
        delete(cast, third)

    reads = [query["sql"] for query in captured if "rooms_toolcall" in query["sql"]]
    assert len(reads) == 1
    assert "rooms_quote" in reads[0]
    assert Quote.objects.count() == 3
