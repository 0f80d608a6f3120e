"""What must be true when all is over, whatever was broken meanwhile; each complaint a sentence.

A question carries a canary (`CANARY-room-number`), and the stub's model `canary` answers with it
and nothing else: so what each answer must be is known to the letter.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import pairwise

from tests.cluster.harness.stored_state import ENDED, Book, RunRow
from tests.live import Frame
from tests.wire.timeline import Ended

CANARY = re.compile(r"CANARY-([0-9a-f]{12})-\d+")
TOKENS = 40
"""So many times the model says the canary of its question."""


def canary(room: str, number: int) -> str:
    """Return a word that nothing but this question, and its answer, has in it."""
    return f"CANARY-{room[-12:]}-{number}"


def answer_to(question: str) -> str:
    """Return what the model says to a question, all of it."""
    found = CANARY.search(question)
    assert found is not None, question
    return " ".join(f"{found[0]}:{number}" for number in range(TOKENS))


def complaints(book: Book) -> list[str]:
    """Say all that is wrong with what was kept of some rooms; nothing where all is well."""
    return [
        *_of_ends(book),
        *_of_steps(book),
        *_of_answers(book),
        *_of_logs(book),
        *_of_messages(book),
    ]


def _of_ends(book: Book) -> Iterator[str]:
    """Every run ends exactly once, in the row and in the log, and both say how."""
    told: dict[str, list[str]] = {run.id: [] for run in book.runs}
    for log in book.logs.values():
        for _seq, frame in log:
            area, _, what = frame["type"].partition(".")
            if area == "run" and what in ENDED:
                told.setdefault(frame["run"]["id"], []).append(what)
    for run in book.runs:
        if run.state not in ENDED:
            yield f"run {run.id} has not ended: {run.state}, attempt {run.attempt}"
        elif told[run.id] != [run.state]:
            yield f"run {run.id} is {run.state}, and the room was told {told[run.id]}"


def _of_steps(book: Book) -> Iterator[str]:
    """Nothing follows an end, an attempt is claimed once, and who claimed it completes it."""
    ended: dict[str, str] = {}
    claimed: dict[str, tuple[int, str]] = {}
    for step in book.steps:
        if step.run in ended:
            yield f"run {step.run} is {step.state} by {step.by} though it was {ended[step.run]}"
        if step.state == "running":
            before, _by = claimed.get(step.run, (0, ""))
            if step.attempt != before + 1:
                yield f"run {step.run} has attempt {step.attempt} after {before}"
            claimed[step.run] = step.attempt, step.by
        elif step.state == "completed" and claimed.get(step.run) != (step.attempt, step.by):
            yield f"run {step.run} was completed by {step.by}, and was {claimed.get(step.run)}'s"
        if step.state in ENDED:
            ended[step.run] = step.state


def _of_answers(book: Book) -> Iterator[str]:
    """One question, one answer: the whole of it where it was completed, else a beginning of it."""
    answers = book.answers
    for stray in answers.pop("", []):
        yield f"answer {stray.id} belongs to no run: {stray.text[:60]!r}"
    for run in book.runs:
        yield from _of_answer(run, [answer.text for answer in answers.get(run.id, [])])
        for answer in answers.get(run.id, []):
            if answer.reply_to != run.message or answer.status == "streaming":
                yield f"answer {answer.id} is {answer.status} and answers {answer.reply_to}"


def _of_answer(run: RunRow, said: list[str]) -> Iterator[str]:
    if run.state == "completed" and len(said) != 1:
        yield f"run {run.id} is completed with {len(said)} answers"
    for text in said if CANARY.search(run.question) else []:
        expected = answer_to(run.question)
        if run.state == "completed" and text != expected:
            yield f"run {run.id} says {text[:60]!r}… instead of {expected[:60]!r}…"
        elif not f"{expected} ".startswith(text):
            yield f"run {run.id} is {run.state} with {text[-60:]!r}, no beginning of its answer"


def _of_logs(book: Book) -> Iterator[str]:
    for room, log in book.logs.items():
        yield from (f"room {room} {gap}" for gap in gaps(seq for seq, _ in log))


def _of_messages(book: Book) -> Iterator[str]:
    """What was sent once is there once, and the log tells of each message where its seq says."""
    sent = Counter((m.room, m.client_id) for m in book.messages if m.client_id)
    yield from (f"{times} messages are {what}" for what, times in sent.items() if times > 1)
    logs = {room: dict(log) for room, log in book.logs.items()}
    for message in book.messages:
        told = logs.get(message.room, {}).get(message.seq, {})
        if told.get("message", {}).get("id") != message.id:
            yield f"message {message.id} is not at {message.seq} in the log of {message.room}"


def gaps(seqs: Iterable[int]) -> list[str]:
    """Say where numbers do not follow each other one by one."""
    return [f"has {b} after {a}" for a, b in pairwise(seqs) if b != a + 1]


def unlike_log(heard: Mapping[int, Frame], since: int, log: list[tuple[int, Frame]]) -> list[str]:
    """Say where what somebody heard is not the log after `since`, gap-free and the same."""
    kept = {seq: frame for seq, frame in log if seq > since}
    missing, surplus = kept.keys() - heard.keys(), heard.keys() - kept.keys()
    changed = [seq for seq in heard.keys() & kept.keys() if heard[seq] != kept[seq]]
    told = (("never heard", missing), ("heard, not kept", surplus), ("heard otherwise", changed))
    return [f"{what}: {sorted(seqs)[:10]}" for what, seqs in told if seqs]


def misassembled(ended: Mapping[str, Ended]) -> list[str]:
    """Say of which answers the deltas of the last attempt are not, end to end, what was kept."""
    return [
        f"run {run}: its deltas say {one.assembled[-40:]!r}, {one.stored[-40:]!r} was kept"
        for run, one in ended.items()
        if one.heard_to_the_end and one.assembled.rstrip() != one.stored
    ]


def foreign(text: str, room: str) -> set[str]:
    """Return the rooms whose canaries are in something that was sent for this room."""
    return set(CANARY.findall(text)) - {room[-12:]} if "CANARY" in text else set()


def lost(acknowledged: Set[tuple[str, str, int]], book: Book) -> list[str]:
    """Say which messages were acknowledged (room, id, seq) and are not there, or elsewhere."""
    kept = {(message.room, message.id, message.seq) for message in book.messages}
    return [f"message {one} was acknowledged and is not there" for one in acknowledged - kept]
