"""The controls: whatever the oracles are there to find is put before them, and is found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster.harness import oracle
from tests.cluster.harness.recording_client import Witness
from tests.cluster.harness.stored_state import Book, MessageRow, RunRow, Step
from tests.live import Frame, Installation, Person
from tests.wire.timeline import Ended

ROOM = "00000000-0000-7000-8000-00000000000a"
OTHER = "00000000-0000-7000-8000-00000000000b"
QUESTION = f"Say {oracle.canary(ROOM, 1)}"
NOW = datetime.now(UTC)
ANSWER = oracle.answer_to(QUESTION)


def good() -> Book:
    """A question, which a worker answered after another one had died."""
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
        Step("r1", "running", 1, "worker-0.1", NOW),
        Step("r1", "queued", 1, "worker-1.1", NOW),
        Step("r1", "running", 2, "worker-1.1", NOW),
        Step("r1", "completed", 2, "worker-1.1", NOW),
    ]
    return Book([run], [asked, answer], {ROOM: list(enumerate(events, start=1))}, steps)


def unended(book: Book) -> None:
    book.runs[0] = replace(book.runs[0], state="running")


def ended_twice(book: Book) -> None:
    book.logs[ROOM].append((7, {"type": "run.failed", "run": {"id": "r1"}}))


def ended_untold(book: Book) -> None:
    del book.logs[ROOM][-1]


def gap(book: Book) -> None:
    book.logs[ROOM].append((8, {"type": "room.changed"}))


def answered_twice(book: Book) -> None:
    book.messages.append(replace(book.messages[1], id="m3", seq=5))


def unanswered(book: Book) -> None:
    del book.messages[1]


def stray_answer(book: Book) -> None:
    book.messages[1] = replace(book.messages[1], run=None)


def still_streaming(book: Book) -> None:
    book.messages[1] = replace(book.messages[1], status="streaming")


def cut_short(book: Book) -> None:
    book.messages[1] = replace(book.messages[1], text=ANSWER[:-3])


def of_another_question(book: Book) -> None:
    book.messages[1] = replace(book.messages[1], text=ANSWER.replace("-1:", "-2:"))


def no_beginning(book: Book) -> None:
    book.runs[0] = replace(book.runs[0], state="failed")
    book.logs[ROOM][-1] = (6, {"type": "run.failed", "run": {"id": "r1"}})
    book.messages[1] = replace(book.messages[1], text=ANSWER[5:])


def sent_twice(book: Book) -> None:
    book.messages.append(replace(book.messages[0], id="m4", seq=7))


def unlogged(book: Book) -> None:
    book.messages[0] = replace(book.messages[0], seq=2)


def written_by_a_zombie(book: Book) -> None:
    book.steps[-1] = replace(book.steps[-1], by="worker-0.1")


def claimed_twice(book: Book) -> None:
    book.steps.insert(1, Step("r1", "running", 1, "worker-1.1", NOW))


def awake_after_its_end(book: Book) -> None:
    book.steps.append(Step("r1", "running", 3, "worker-0.2", NOW))


FAULTS = [
    unended,
    ended_twice,
    ended_untold,
    gap,
    answered_twice,
    unanswered,
    stray_answer,
    still_streaming,
    cut_short,
    of_another_question,
    no_beginning,
    sent_twice,
    unlogged,
    written_by_a_zombie,
    claimed_twice,
    awake_after_its_end,
]


def test_nothing_is_found_where_all_is_well() -> None:
    assert oracle.complaints(good()) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_in_what_was_kept_is_found(fault: Callable[[Book], None]) -> None:
    book = good()
    fault(book)

    assert oracle.complaints(book)


def test_whoever_was_told_less_more_or_something_else_is_found() -> None:
    log: list[tuple[int, Frame]] = [(n, {"type": "room.changed", "seq": n}) for n in range(1, 5)]
    heard = dict(log[1:])

    assert oracle.unlike_log(heard, 1, log) == []
    assert oracle.unlike_log(heard, 0, log) == ["never heard: [1]"]
    assert oracle.unlike_log({**heard, 5: {}}, 1, log) == ["heard, not kept: [5]"]
    assert oracle.unlike_log({**heard, 3: {}}, 1, log) == ["heard otherwise: [3]"]


def test_deltas_that_are_not_the_text_are_found() -> None:
    assert oracle.misassembled({"r1": Ended("all of it ", "all of it", True, 1)}) == []
    assert len(oracle.misassembled({"r1": Ended("all of", "all of it", True, 1)})) == 1


def test_message_that_was_acknowledged_and_is_not_there_is_found() -> None:
    assert oracle.lost({(ROOM, "m1", 1)}, good()) == []
    assert len(oracle.lost({(ROOM, "m1", 2), (ROOM, "m9", 9)}, good())) == 2


def test_words_of_another_room_are_found() -> None:
    assert oracle.foreign(f'{{"text":"{ANSWER}"}}', ROOM) == set()
    assert oracle.foreign(f'{{"text":"{ANSWER}"}}', OTHER) == {ROOM[-12:]}


def witness(folder: Path) -> Witness:
    """Somebody who has heard that an answer began a second time, and that another ended."""
    heard = Witness(Installation(folder), Person("u1", "secret"), ROOM)
    for event in (
        {"type": "run.started", "seq": 1, "run": {"id": "r1", "answer": "m2", "attempt": 2}},
        {"type": "run.completed", "seq": 2, "run": {"id": "r2"}},
    ):
        heard.note(event)
    return heard


@pytest.mark.parametrize(
    ("run", "message", "attempt", "complaints"),
    [("r1", "m2", 2, 0), ("r1", "m2", 1, 1), ("r2", "m4", 1, 1)],
    ids=["current", "of a zombie", "after the end"],
)
def test_text_that_comes_too_late_is_found(
    tmp_path: Path, run: str, message: str, attempt: int, complaints: int
) -> None:
    heard = witness(tmp_path)

    heard.judge({"run": run, "message": message, "attempt": attempt, "seq": 0})

    assert len(heard.complaints) == complaints


def test_event_that_is_told_in_two_ways_is_found(tmp_path: Path) -> None:
    heard = witness(tmp_path)

    heard.note({"type": "run.completed", "seq": 2, "run": {"id": "r2"}})
    heard.note({"type": "run.failed", "seq": 2, "run": {"id": "r2"}})

    assert len(heard.complaints) == 1
