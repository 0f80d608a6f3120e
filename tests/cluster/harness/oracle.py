"""The invariants that hold after every fault. Each violation is returned as one sentence.

A question contains a canary (`CANARY-room-number`). The stub provider's model `canary` answers with
that canary and nothing else, so the exact text of each answer is known.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import pairwise

from tests.cluster.harness.stored_state import FINAL_STATES, RunRow, StoredState
from tests.live import Frame
from tests.wire.timeline import EndedAnswer

CANARY = re.compile(r"CANARY-([0-9a-f]{12})-\d+")
TOKENS = 40
"""The model repeats the canary of its question this often."""


def canary(room: str, number: int) -> str:
    """Return a word that occurs in no other question and in no other answer."""
    return f"CANARY-{room[-12:]}-{number}"


def answer_to(question: str) -> str:
    """Return the complete answer of the stub's model to a question."""
    found = CANARY.search(question)
    assert found is not None, question
    return " ".join(f"{found[0]}:{number}" for number in range(TOKENS))


def violations(stored: StoredState) -> list[str]:
    """Return every violation in the stored state of some rooms."""
    return [
        *_check_ends(stored),
        *_check_transitions(stored),
        *_check_answers(stored),
        *_check_logs(stored),
        *_check_messages(stored),
    ]


def _check_ends(stored: StoredState) -> Iterator[str]:
    """Each run ends exactly once; its row and the event log name the same final state."""
    logged: dict[str, list[str]] = {run.id: [] for run in stored.runs}
    for log in stored.logs.values():
        for _seq, frame in log:
            area, _, state = frame["type"].partition(".")
            if area == "run" and state in FINAL_STATES:
                logged.setdefault(frame["run"]["id"], []).append(state)
    for run in stored.runs:
        if run.state not in FINAL_STATES:
            yield f"run {run.id} has not ended: {run.state}, attempt {run.attempt}"
        elif logged[run.id] != [run.state]:
            yield f"run {run.id} is {run.state}, but the log contains {logged[run.id]}"


def _check_transitions(stored: StoredState) -> Iterator[str]:
    """No transition follows a final state. Only the worker that claimed an attempt completes it."""
    ended: dict[str, str] = {}
    claimed: dict[str, tuple[int, str]] = {}
    for step in stored.transitions:
        if step.run in ended:
            yield f"run {step.run} was set to {step.state} by {step.by} after {ended[step.run]}"
        if step.state == "running":
            before, _by = claimed.get(step.run, (0, ""))
            if step.attempt != before + 1:
                yield f"run {step.run} has attempt {step.attempt} after attempt {before}"
            claimed[step.run] = step.attempt, step.by
        elif step.state == "completed" and claimed.get(step.run) != (step.attempt, step.by):
            claim = claimed.get(step.run)
            yield f"run {step.run} was completed by {step.by}, but its last claim was {claim}"
        if step.state in FINAL_STATES:
            ended[step.run] = step.state


def _check_answers(stored: StoredState) -> Iterator[str]:
    """A completed run has one answer with the whole text; another run has a prefix of the text."""
    answers = stored.answers
    for orphan in answers.pop("", []):
        yield f"answer {orphan.id} belongs to no run: {orphan.text[:60]!r}"
    for run in stored.runs:
        yield from _check_answer(run, [answer.text for answer in answers.get(run.id, [])])
        for answer in answers.get(run.id, []):
            if answer.reply_to != run.message or answer.status == "streaming":
                yield f"answer {answer.id} is {answer.status} and replies to {answer.reply_to}"


def _check_answer(run: RunRow, texts: list[str]) -> Iterator[str]:
    if run.state == "completed" and len(texts) != 1:
        yield f"run {run.id} is completed with {len(texts)} answers"
    for text in texts if CANARY.search(run.question) else []:
        expected = answer_to(run.question)
        if run.state == "completed" and text != expected:
            yield f"run {run.id} has the text {text[:60]!r}… instead of {expected[:60]!r}…"
        elif not f"{expected} ".startswith(text):
            yield f"run {run.id} is {run.state} with {text[-60:]!r}, no prefix of its answer"


def _check_logs(stored: StoredState) -> Iterator[str]:
    for room, log in stored.logs.items():
        yield from (f"room {room} {gap}" for gap in gaps(seq for seq, _ in log))


def _check_messages(stored: StoredState) -> Iterator[str]:
    """Each (room, client_id) is stored once, and the log has each message at the message's seq."""
    sent = Counter((m.room, m.client_id) for m in stored.messages if m.client_id)
    yield from (f"{times} messages have {key}" for key, times in sent.items() if times > 1)
    logs = {room: dict(log) for room, log in stored.logs.items()}
    for message in stored.messages:
        event = logs.get(message.room, {}).get(message.seq, {})
        if event.get("message", {}).get("id") != message.id:
            yield f"message {message.id} is not at seq {message.seq} in the log of {message.room}"


def gaps(seqs: Iterable[int]) -> list[str]:
    """Return each place where a seq is not its predecessor plus one."""
    return [f"has seq {b} after {a}" for a, b in pairwise(seqs) if b != a + 1]


def log_differences(
    received: Mapping[int, Frame], since: int, log: list[tuple[int, Frame]]
) -> list[str]:
    """Compare the events that a client received with the log after seq `since`."""
    stored = {seq: frame for seq, frame in log if seq > since}
    missing, extra = stored.keys() - received.keys(), received.keys() - stored.keys()
    changed = [seq for seq in received.keys() & stored.keys() if received[seq] != stored[seq]]
    found = (("not received", missing), ("not stored", extra), ("received changed", changed))
    return [f"{difference}: {sorted(seqs)[:10]}" for difference, seqs in found if seqs]


def assembly_errors(ended: Mapping[str, EndedAnswer]) -> list[str]:
    """Return the runs whose concatenated deltas of the last attempt differ from the stored text.

    Only answers that the client followed to the end through live events are compared.
    """
    return [
        f"run {run}: the deltas end with {one.assembled[-40:]!r}, stored is {one.stored[-40:]!r}"
        for run, one in ended.items()
        if one.received_to_the_end and one.assembled.rstrip() != one.stored
    ]


def foreign_canaries(text: str, room: str) -> set[str]:
    """Return the rooms of the canaries in `text`, which was sent to this room, except the room."""
    return set(CANARY.findall(text)) - {room[-12:]} if "CANARY" in text else set()


def missing_messages(acknowledged: Set[tuple[str, str, int]], stored: StoredState) -> list[str]:
    """Return the acknowledged messages (room, id, seq) that are not stored with this seq."""
    kept = {(message.room, message.id, message.seq) for message in stored.messages}
    return [f"message {one} was acknowledged but is not stored" for one in acknowledged - kept]
