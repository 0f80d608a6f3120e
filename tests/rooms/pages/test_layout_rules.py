"""The server and the page's scripts lay out a timeline by the same rules."""

import json
import os
import random
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.utils import timezone

from accounts.fields import format_timestamp
from accounts.models import User
from rooms.models import MessageStatus, RunState
from rooms.pages.layout import RULES, RULES_FOR_SCRIPTS
from rooms.pages.timeline import TimelineItem, timeline_items
from rooms.permissions import MODERATE, POST, VIEW
from rooms.protocol.payloads import Author, MessageBody, RoomBody, RoomState, RunBody
from rooms.services.runs import RETRYABLE
from tests.live import ROOT

ZONE: Final = "Asia/Seoul"
TIMELINES: Final = 200
ROOM: Final = UUID(int=1)
READER: Final = UUID(int=2)
# Steps around the boundary of grouping, and around midnight.
STEPS: Final = (
    timedelta(milliseconds=1),
    timedelta(minutes=1),
    timedelta(seconds=RULES.continue_within_seconds) - timedelta(milliseconds=1),
    timedelta(seconds=RULES.continue_within_seconds),
    timedelta(hours=7),
    timedelta(days=1),
)


class Generator:
    """Makes random timelines; the same seed makes the same timelines."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # test data
        self._ids = 100

    def timeline(self) -> tuple[RoomState, list[RunBody], int]:
        """Return a room's state, its ended runs, and the reader's last read seq."""
        generator = self._random
        at = datetime(2026, 3, 1, 14, 58, tzinfo=UTC) + timedelta(seconds=generator.randrange(300))
        messages: list[MessageBody] = []
        runs: list[RunBody] = []
        for seq in range(1, generator.randrange(2, 15)):
            at += generator.choice(STEPS)
            messages.append(self._message(seq, at, runs, messages))
        is_open = {RunState.QUEUED.value, RunState.RUNNING.value, RunState.WAITING.value}
        state = RoomState(
            room=_room(),
            members=[],
            personas=[],
            permissions=[VIEW, *generator.choice(([], [POST], [POST, MODERATE]))],
            messages=messages,
            messages_complete=True,
            runs=[run for run in runs if run.state in is_open],
        )
        ended = [run for run in runs if run.state not in is_open]
        return state, ended, generator.randrange(len(messages) + 1)

    def _message(
        self, seq: int, at: datetime, runs: list[RunBody], earlier: list[MessageBody]
    ) -> MessageBody:
        generator = self._random
        message_id = self._id()
        people = (READER, UUID(int=3), UUID(int=4), None)
        author = Author("user", generator.choice(people), "A person", "person")
        status, run_id = MessageStatus.COMPLETE.value, None
        if earlier and generator.random() < 0.5:
            persona = UUID(int=generator.randrange(5, 7))
            author = Author("persona", persona, "A persona", "persona")
            status = generator.choice([status.value for status in MessageStatus])
            question = generator.choice(earlier).id
            run_id = self._id()
            runs.append(self._run(run_id, question, message_id, persona, status))
            if status == MessageStatus.STREAMING and generator.random() < 0.5:
                runs[-1] = msgspec.structs.replace(runs[-1], state=RunState.WAITING.value)
        return MessageBody(
            id=message_id,
            room=ROOM,
            seq=seq,
            author=author,
            text="",
            html="",
            reply_to=None,
            run=run_id,
            status=status,
            reactions={},
            created_at=format_timestamp(at),
            edited_at=None,
            deleted=status != MessageStatus.STREAMING and generator.random() < 0.2,
        )

    def _run(
        self, run_id: UUID, question: UUID, answer: UUID, persona: UUID, status: str
    ) -> RunBody:
        states = {
            MessageStatus.COMPLETE: RunState.COMPLETED,
            MessageStatus.STREAMING: RunState.RUNNING,
            MessageStatus.FAILED: RunState.FAILED,
            MessageStatus.CANCELLED: RunState.CANCELLED,
        }
        return RunBody(
            id=run_id,
            persona=persona,
            message=question,
            answer=answer,
            state=states[MessageStatus(status)].value,
            attempt=1,
            requested_by=self._random.choice((READER, UUID(int=3), None)),
            stopped_by=None,
            position=None,
            error=None,
            usage=None,
            started_at=None,
            ended_at=None,
        )

    def _id(self) -> UUID:
        self._ids += 1
        return UUID(int=self._ids)


def test_retry_is_offered_for_the_runs_that_the_service_accepts() -> None:
    assert set(RULES.retryable_run_states) == {state.value for state in RETRYABLE}


def test_scripts_lay_out_generated_timelines_as_the_server_does() -> None:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed.")
    generator = Generator(seed=10)
    timelines = [generator.timeline() for _ in range(TIMELINES)]

    with timezone.override(ZoneInfo(ZONE)):
        reader = User(pk=READER)
        rendered = [timeline_items(reader, *timeline, {}) for timeline in timelines]
    laid_out_by_scripts = _run_scripts(timelines, rendered)

    assert [[_result(item) for item in items] for items in rendered] == laid_out_by_scripts


def test_generated_timelines_contain_every_case() -> None:
    generator = Generator(seed=10)

    with timezone.override(ZoneInfo(ZONE)):
        items = [
            item
            for _ in range(TIMELINES)
            for item in timeline_items(User(pk=READER), *generator.timeline(), {})
        ]

    for name in ("starts_day", "starts_unread", "continued", "may_stop", "may_retry"):
        assert {getattr(item, name) for item in items} == {True, False}, name
    states_with_a_message = set(RULES.states) - {"queued", "streaming"}
    assert {item.state for item in items} == states_with_a_message


def test_every_state_of_a_message_has_rules() -> None:
    assert set(RULES.state_of_status) == {status.value for status in MessageStatus}
    assert set(RULES.state_of_status.values()) <= set(RULES.states)


def _run_scripts(
    timelines: list[tuple[RoomState, list[RunBody], int]], rendered: list[list[TimelineItem]]
) -> Any:
    request = {
        "layout": RULES_FOR_SCRIPTS,
        "me": str(READER),
        "timelines": [
            {
                "state": msgspec.to_builtins(state, str_keys=True),
                "ended": msgspec.to_builtins(ended),
                "unread": [index for index, item in enumerate(items) if item.starts_unread],
            }
            for (state, ended, _read_seq), items in zip(timelines, rendered, strict=True)
        ],
    }
    done = subprocess.run(
        ["node", str(ROOT / "tests" / "js" / "layout_results.js")],  # found on the path
        input=json.dumps(request),
        env={**os.environ, "TZ": ZONE},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def _result(item: TimelineItem) -> dict[str, object]:
    names = ("state", "starts_day", "continued", "may_stop", "may_retry")
    return {name: getattr(item, name) for name in names}


def _room() -> RoomBody:
    return RoomBody(
        id=ROOM,
        team=UUID(int=1),
        name="room",
        topic="",
        privacy="team",
        answer_policy="default",
        default_persona=None,
        archived=False,
    )
