"""Controls of the oracle: each kind of fault is put into a correct state, and must be found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster.harness import oracle
from tests.cluster.harness.recording_client import RecordingClient
from tests.cluster.harness.stored_state import MessageRow, RunRow, StoredState, Transition
from tests.live import Frame, Installation, Person
from tests.wire.timeline import EndedAnswer

ROOM = "00000000-0000-7000-8000-00000000000a"
OTHER = "00000000-0000-7000-8000-00000000000b"
QUESTION = f"Say {oracle.canary(ROOM, 1)}"
NOW = datetime.now(UTC)
ANSWER = oracle.answer_to(QUESTION)


def correct() -> StoredState:
    """A question whose run was answered by a second worker after the first one had died."""
    asked = MessageRow("m1", ROOM, 1, "c1", None, False, None, QUESTION, "complete")
    answer = MessageRow("m2", ROOM, 3, None, "m1", True, "r1", ANSWER, "complete")
    run = RunRow("r1", ROOM, "m1", QUESTION, "completed", 2, "", NOW)
    events: list[Frame] = [
        {"type": "message.created", "message": {"id": "m1"}},
        {"type": "run.queued", "run": {"id": "r1"}},
        {"type": "message.created", "message": {"id": "m2"}},
        {"type": "run.started", "run": {"id": "r1"}},
        {"type": "message.completed", "message": {"id": "m2"}},
        {"type": "run.completed", "run": {"id": "r1"}},
    ]
    steps = [
        Transition("r1", "running", 1, "worker-0.1", NOW),
        Transition("r1", "queued", 1, "worker-1.1", NOW),
        Transition("r1", "running", 2, "worker-1.1", NOW),
        Transition("r1", "completed", 2, "worker-1.1", NOW),
    ]
    return StoredState([run], [asked, answer], {ROOM: list(enumerate(events, start=1))}, steps)


def unended(stored: StoredState) -> None:
    stored.runs[0] = replace(stored.runs[0], state="running")


def ended_twice(stored: StoredState) -> None:
    stored.logs[ROOM].append((7, {"type": "run.failed", "run": {"id": "r1"}}))


def end_missing_in_log(stored: StoredState) -> None:
    del stored.logs[ROOM][-1]


def gap(stored: StoredState) -> None:
    stored.logs[ROOM].append((8, {"type": "room.changed"}))


def answered_twice(stored: StoredState) -> None:
    stored.messages.append(replace(stored.messages[1], id="m3", seq=5))


def unanswered(stored: StoredState) -> None:
    del stored.messages[1]


def stray_answer(stored: StoredState) -> None:
    stored.messages[1] = replace(stored.messages[1], run=None)


def still_streaming(stored: StoredState) -> None:
    stored.messages[1] = replace(stored.messages[1], status="streaming")


def cut_short(stored: StoredState) -> None:
    stored.messages[1] = replace(stored.messages[1], text=ANSWER[:-3])


def of_another_question(stored: StoredState) -> None:
    stored.messages[1] = replace(stored.messages[1], text=ANSWER.replace("-1:", "-2:"))


def no_prefix(stored: StoredState) -> None:
    stored.runs[0] = replace(stored.runs[0], state="failed")
    stored.logs[ROOM][-1] = (6, {"type": "run.failed", "run": {"id": "r1"}})
    stored.messages[1] = replace(stored.messages[1], text=ANSWER[5:])


def sent_twice(stored: StoredState) -> None:
    stored.messages.append(replace(stored.messages[0], id="m4", seq=7))


def missing_in_log(stored: StoredState) -> None:
    stored.messages[0] = replace(stored.messages[0], seq=2)


def completed_by_another_worker(stored: StoredState) -> None:
    stored.transitions[-1] = replace(stored.transitions[-1], by="worker-0.1")


def claimed_twice(stored: StoredState) -> None:
    stored.transitions.insert(1, Transition("r1", "running", 1, "worker-1.1", NOW))


def restarted_after_its_end(stored: StoredState) -> None:
    stored.transitions.append(Transition("r1", "running", 3, "worker-0.2", NOW))


FAULTS = [
    unended,
    ended_twice,
    end_missing_in_log,
    gap,
    answered_twice,
    unanswered,
    stray_answer,
    still_streaming,
    cut_short,
    of_another_question,
    no_prefix,
    sent_twice,
    missing_in_log,
    completed_by_another_worker,
    claimed_twice,
    restarted_after_its_end,
]


def test_correct_state_has_no_violations() -> None:
    assert oracle.violations(correct()) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_in_the_stored_state_is_found(fault: Callable[[StoredState], None]) -> None:
    stored = correct()
    fault(stored)

    assert oracle.violations(stored)


def test_missing_extra_and_changed_events_of_a_client_are_found() -> None:
    log: list[tuple[int, Frame]] = [(n, {"type": "room.changed", "seq": n}) for n in range(1, 5)]
    received = dict(log[1:])

    assert oracle.log_differences(received, 1, log) == []
    assert oracle.log_differences(received, 0, log) == ["not received: [1]"]
    assert oracle.log_differences({**received, 5: {}}, 1, log) == ["not stored: [5]"]
    assert oracle.log_differences({**received, 3: {}}, 1, log) == ["received changed: [3]"]


def test_deltas_that_differ_from_the_stored_text_are_found() -> None:
    assert oracle.assembly_errors({"r1": EndedAnswer("all of it ", "all of it", True, 1)}) == []
    assert len(oracle.assembly_errors({"r1": EndedAnswer("all of", "all of it", True, 1)})) == 1


def test_acknowledged_message_that_is_not_stored_is_found() -> None:
    assert oracle.missing_messages({(ROOM, "m1", 1)}, correct()) == []
    assert len(oracle.missing_messages({(ROOM, "m1", 2), (ROOM, "m9", 9)}, correct())) == 2


def test_canaries_of_another_room_are_found() -> None:
    assert oracle.foreign_canaries(f'{{"text":"{ANSWER}"}}', ROOM) == set()
    assert oracle.foreign_canaries(f'{{"text":"{ANSWER}"}}', OTHER) == {ROOM[-12:]}


def recording_client(folder: Path) -> RecordingClient:
    """A client that received the start of a second attempt and the end of another run."""
    client = RecordingClient(Installation(folder), Person("u1", "secret"), ROOM)
    for event in (
        {"type": "run.started", "seq": 1, "run": {"id": "r1", "answer": "m2", "attempt": 2}},
        {"type": "run.completed", "seq": 2, "run": {"id": "r2"}},
    ):
        client.record(event)
    return client


@pytest.mark.parametrize(
    ("run", "message", "attempt", "violations"),
    [("r1", "m2", 2, 0), ("r1", "m2", 1, 1), ("r2", "m4", 1, 1)],
    ids=["current", "old attempt", "after the end"],
)
def test_late_delta_is_found(
    tmp_path: Path, run: str, message: str, attempt: int, violations: int
) -> None:
    recorder = recording_client(tmp_path)

    delta = {"run": run, "message": message, "attempt": attempt, "seq": 0, "text": "a "}
    recorder.check_delta(delta)

    assert len(recorder.violations) == violations


def test_two_events_with_the_same_seq_are_found(tmp_path: Path) -> None:
    recorder = recording_client(tmp_path)

    recorder.record({"type": "run.completed", "seq": 2, "run": {"id": "r2"}})
    recorder.record({"type": "run.failed", "seq": 2, "run": {"id": "r2"}})

    assert len(recorder.violations) == 1
