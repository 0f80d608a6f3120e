"""Shapes of all frames and REST bodies: keys, types, ids and times.

A shape yields a sentence for each difference from the contract. Keys that it does not name are
differences too, unless ADDITIVE lists them: additions to the contract are explicit.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

Differences = Iterator[str]
Shape = Callable[[Any, str], Differences]

UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def is_(what: str, test: Callable[[Any], bool]) -> Shape:
    """A value for which `test` is true."""

    def check(value: Any, where: str) -> Differences:
        if not test(value):
            yield f"{where} is not {what}: {value!r}"

    return check


def one_of(*words: object) -> Shape:
    return is_(f"one of {words}", lambda value: value in words)


def null_or(shape: Shape) -> Shape:
    def check(value: Any, where: str) -> Differences:
        if value is not None:
            yield from shape(value, where)

    return check


def each(shape: Shape) -> Shape:
    """A list whose items all have that shape."""

    def check(value: Any, where: str) -> Differences:
        if not isinstance(value, list):
            yield f"{where} is not a list: {value!r}"
            return
        for number, item in enumerate(value):
            yield from shape(item, f"{where}[{number}]")

    return check


def record(name: str, /, **keys: Shape) -> Shape:
    """An object with exactly these keys, and optionally those of ADDITIVE[name]."""

    def check(value: Any, where: str) -> Differences:
        if not isinstance(value, dict):
            yield f"{where} is not an object: {value!r}"
            return
        known = {**ADDITIVE.get(name, {}), **keys}
        for key in keys.keys() - value.keys():
            yield f"{where} has no {key}"
        for key, item in value.items():
            if key in known:
                yield from known[key](item, f"{where}.{key}")
            else:
                yield f"{where} has an unknown key {key}"

    return check


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


TEXT = is_("text", lambda value: isinstance(value, str))
SENTENCE = is_("a sentence", lambda value: isinstance(value, str) and len(value) > 3)
BOOL = is_("a boolean", lambda value: isinstance(value, bool))
DENIAL = one_of("changed", "not_allowed", "no_decider", "expired", "run_ended")
OBJECT = is_("an object", lambda value: isinstance(value, dict))
COUNT = is_("a count", lambda value: _whole(value) and value >= 0)
POSITION = is_("a position", lambda value: _whole(value) and value >= -1)
WAIT = is_("seconds", lambda value: isinstance(value, int | float) and value > 0)
ID = is_("an id", lambda value: isinstance(value, str) and bool(UUID.fullmatch(value)))
WHEN = is_("a time", lambda value: isinstance(value, str) and bool(TIME.fullmatch(value)))
AMOUNT = is_("an amount", lambda value: isinstance(value, str) and float(value) >= 0)

CODE = one_of(
    "unauthenticated",
    "not_found",
    "forbidden",
    "invalid",
    "conflict",
    "rate_limited",
    "too_large",
    "unavailable",
)
RUN_CODE = one_of(
    "provider_unavailable",
    "provider_refused",
    "provider_garbled",
    "truncated",
    "timeout",
    "too_long",
    "budget",
    "worker_lost",
    "not_allowed",
    "internal",
    "tool_limit",
)
ROLE = one_of("owner", "moderator", "member", "reader")
PIGMENT = one_of("noerok", "seokganju", "chija", "jaju", "cheonghoe", "meok")
LATTICE = one_of("ttisal", "gyeoksal", "bitsal", "wanja", "yukmo", "kkotsal")
POLICY = one_of("default", "mention", "thread", "off")

ERROR = record("error", code=CODE, detail=SENTENCE)
REACTIONS = is_(
    "reactions",
    lambda value: (
        isinstance(value, dict)
        and all(ids and all(UUID.fullmatch(one) for one in ids) for ids in value.values())
    ),
)
AUTHOR = record("author", kind=one_of("user", "persona"), id=ID, name=TEXT, handle=TEXT)
PIN = record("pin", by=null_or(ID), at=WHEN)
VOTES = record("votes", up=COUNT, down=COUNT)
REPLIES = record(
    "replies",
    count=COUNT,
    last_at=WHEN,
    authors=each(record("reply author", kind=one_of("user", "persona"), id=ID, name=TEXT)),
)
MESSAGE = record(
    "message",
    id=ID,
    room=ID,
    seq=COUNT,
    author=AUTHOR,
    text=TEXT,
    html=TEXT,
    reply_to=null_or(ID),
    thread=null_or(ID),
    replies=null_or(REPLIES),
    run=null_or(ID),
    status=one_of("complete", "streaming", "failed", "cancelled"),
    reactions=REACTIONS,
    created_at=WHEN,
    edited_at=null_or(WHEN),
    deleted=BOOL,
)
STEP = record(
    "step",
    call=ID,
    tool=TEXT,
    title=TEXT,
    state=one_of("proposed", "asked", "allowed", "denied", "running", "done", "failed", "unknown"),
    ms=null_or(COUNT),
    result=null_or(TEXT),
)
STEERING = record(
    "steering",
    id=ID,
    by=null_or(ID),
    at=WHEN,
    text=TEXT,
    state=one_of("accepted", "applied", "failed"),
)
ROUND = record(
    "round",
    id=ID,
    message=ID,
    requested_by=null_or(ID),
    steps=each(record("round step", persona=ID, name=TEXT, run=null_or(ID), state=TEXT)),
    state=one_of("running", "paused", "completed", "cancelled"),
)
APPROVAL = record(
    "approval",
    id=ID,
    run=ID,
    persona=ID,
    call=ID,
    tool=TEXT,
    title=TEXT,
    asked_of=each(ID),
    expires_at=null_or(WHEN),
)
QUESTION = record(
    "question",
    id=ID,
    run=ID,
    message=ID,
    persona=ID,
    text=TEXT,
    choices=each(TEXT),
    asked_of=each(ID),
    state=one_of("open", "answered", "expired", "withdrawn"),
    answers=each(record("question answer", by=null_or(ID), name=TEXT, text=TEXT, at=WHEN)),
    expires_at=WHEN,
)
PINNED = record("pinned message", message=ID, author=AUTHOR, text=TEXT, pinned=PIN)
USAGE = record(
    "usage", input_tokens=COUNT, output_tokens=COUNT, cost=null_or(AMOUNT), currency=TEXT
)
RUN = record(
    "run",
    id=ID,
    persona=ID,
    message=ID,
    answer=null_or(ID),
    attempt=COUNT,
    requested_by=ID,
    stopped_by=null_or(ID),
    position=null_or(COUNT),
    error=null_or(record("run error", code=RUN_CODE, detail=SENTENCE)),
    usage=null_or(USAGE),
)
ROOM = record("room", answer_policy=POLICY, answers_in=one_of("room", "thread"))
MEMBER = record("member")
PERSONA = record(
    "persona", id=ID, name=TEXT, handle=TEXT, role=TEXT, pigment=PIGMENT, lattice=LATTICE
)
STATE = record(
    "state",
    room=ROOM,
    members=each(MEMBER),
    personas=each(PERSONA),
    permissions=each(TEXT),
    messages=each(MESSAGE),
    runs=each(RUN),
)
LIVE = record("live", message=ID, run=ID, attempt=COUNT, seq=POSITION, text=TEXT, **{"from": COUNT})


def _durable(name: str, /, **keys: Shape) -> Shape:
    return record(name, type=TEXT, room=ID, seq=COUNT, **keys)


def _passing(name: str, /, **keys: Shape) -> Shape:
    return record(name, type=TEXT, room=ID, **keys)


DURABLE: dict[str, Shape] = {
    "message.created": _durable("message event", message=MESSAGE),
    "message.updated": _durable("message event", message=MESSAGE),
    "message.completed": _durable("message event", message=MESSAGE),
    "message.deleted": _durable("message event", message=MESSAGE),
    "reaction.changed": _durable("reaction.changed"),
    "thread.changed": _durable("thread.changed", message=ID, replies=null_or(REPLIES)),
    "run.queued": _durable("run event", run=RUN),
    "run.started": _durable("run event", run=RUN),
    "run.completed": _durable("run event", run=RUN),
    "run.failed": _durable("run event", run=RUN),
    "run.cancelled": _durable("run event", run=RUN),
    "run.waiting": _durable("run event", run=RUN),
    "approval.requested": _durable("approval event", approval=APPROVAL),
    "approval.decided": _durable("approval event", approval=APPROVAL),
    "question.asked": _durable("question event", question=QUESTION),
    "question.answered": _durable("question event", question=QUESTION),
    "round.changed": _durable("round.changed", round=ROUND),
    "turns.capped": _durable("turns.capped", message=ID, limit=COUNT),
    "member.added": _durable("member.added"),
    "member.changed": _durable("member.changed"),
    "member.removed": _durable("member.removed"),
    "room.changed": _durable("room.changed"),
    "room.archived": _durable("room.changed"),
    "room.deleted": _durable("room.deleted"),
    "persona.bound": _durable("persona.bound"),
    "persona.unbound": _durable("persona.unbound"),
    "persona.changed": _durable("persona.changed"),
}
PASSING: dict[str, Shape] = {
    "message.delta": _passing(
        "message.delta", message=ID, run=ID, attempt=COUNT, seq=COUNT, text=TEXT
    ),
    "run.position": _passing("run.position", run=ID, position=COUNT),
    "tool.started": _passing(
        "tool event", run=ID, call=TEXT, tool=TEXT, summary=TEXT, ms=null_or(COUNT)
    ),
    "tool.finished": _passing(
        "tool event", run=ID, call=TEXT, tool=TEXT, summary=TEXT, ms=null_or(COUNT)
    ),
    "member.typing": _passing("member.typing", user=ID),
    "presence": _passing("presence", user=ID, online=BOOL),
    "room.activity": _passing("room.activity", seq=COUNT, unread=COUNT, mentions=COUNT),
    "room.removed": _passing("room.removed"),
}


def _event(value: Any, where: str) -> Differences:
    kind = value.get("type") if isinstance(value, dict) else None
    shape = DURABLE.get(str(kind))
    if shape is None:
        yield f"{where} is no durable event: {value!r}"
        return
    yield from shape(value, f"{where} {kind}")


def _snapshot(value: Any, where: str) -> Differences:
    """A snapshot holds either the missed events or the state, never both."""
    yield from _snapshot_keys(value, where)
    if value.get("complete"):
        if value.get("state") is not None or value.get("events") is None:
            yield f"{where} is complete, but has not just events"
        missed = [event["seq"] for event in value.get("events") or []]
        if missed != list(range(value["from"] + 1, value["seq"] + 1)):
            yield f"{where} has holes between {value['from']} and {value['seq']}: {missed}"
    elif value.get("events") is not None or value.get("state") is None:
        yield f"{where} is not complete, but has not just a state"
    elif value["from"] != value["seq"]:
        yield f"{where} begins at {value['from']}, its state is of {value['seq']}"


_snapshot_keys = record(
    "room.snapshot",
    type=TEXT,
    room=ID,
    ref=TEXT,
    seq=COUNT,
    complete=BOOL,
    events=null_or(each(_event)),
    state=null_or(STATE),
    live=each(LIVE),
    **{"from": COUNT},
)
FRAMES: dict[str, Shape] = {
    **DURABLE,
    **PASSING,
    "room.snapshot": _snapshot,
    "command.done": record("command.done", type=TEXT, ref=TEXT, result=OBJECT),
    "command.refused": record(
        "command.refused", type=TEXT, ref=null_or(TEXT), code=CODE, detail=SENTENCE
    ),
}

# Keys that this version adds to the contract, or that the contract abbreviates with dots.
ADDITIVE: dict[str, dict[str, Shape]] = {
    "room.snapshot": {"online": each(ID)},
    "message": {
        "also_in_room": BOOL,
        "pinned": null_or(PIN),
        "replaces": null_or(ID),
        "replaced_by": null_or(ID),
        "answer_version": COUNT,
        "version": null_or(COUNT),
        "votes": null_or(VOTES),
        "why": one_of("named", "mention", "reply", "thread", "policy", "retry", "round", "led"),
        "steps": each(STEP),
        "steered": each(STEERING),
        "round": ROUND,
        "capped": COUNT,
    },
    "state": {
        "messages_complete": BOOL,
        "members_complete": BOOL,
        "runs_complete": BOOL,
        "pins": each(PINNED),
        "approvals": each(APPROVAL),
        "questions": each(QUESTION),
    },
    "command.refused": {"retry_after": WAIT, "fields": OBJECT},
    "error": {"fields": OBJECT},
    "room.activity": {"threads": COUNT},
    "replies": {"unread": COUNT},
    "turns.capped": {"reason": one_of("answers", "queue")},
    "run": {
        "state": one_of("queued", "running", "waiting", "completed", "failed", "cancelled"),
        "round": ID,
        "asked_by": ID,
        "thread": null_or(ID),
        "started_at": null_or(WHEN),
        "ended_at": null_or(WHEN),
        "replaces": ID,
    },
    "step": {"shown": TEXT, "own": BOOL, "answers": COUNT, "denial": DENIAL},
    "round step": {"reason": TEXT},
    "steering": {"name": TEXT, "after": null_or(COUNT)},
    "approval": {
        "message": ID,
        "changes": BOOL,
        "state": one_of("asked", "allowed", "denied", "expired", "withdrawn"),
        "denial": DENIAL,
        "by": null_or(ID),
        "by_name": TEXT,
        "at": WHEN,
        "for_run": BOOL,
        "may_for_run": BOOL,
        "own": BOOL,
    },
    "votes": {"mine": one_of(1, 0, -1)},
    "run error": {"reason": TEXT, "persona": TEXT},
    "room": {
        "persona_turns": COUNT,
        "muted_personas": each(ID),
        "id": ID,
        "team": ID,
        "name": TEXT,
        "topic": TEXT,
        "privacy": one_of("private", "team"),
        "default_persona": null_or(ID),
        "archived": BOOL,
        "direct": BOOL,
        "for_everyone": BOOL,
        "member_count": COUNT,
        "mode": one_of("each", "round", "led"),
        "lead": null_or(ID),
        "other_decides": BOOL,
        "summarizes": BOOL,
    },
    "member": {"user": ID, "name": TEXT, "handle": TEXT, "wood": TEXT, "role": ROLE},
    "persona": {"goal": TEXT, "enabled": BOOL},
    "reaction.changed": {"message": ID, "reactions": REACTIONS},
    "member.added": {"member": MEMBER},
    "member.changed": {"member": MEMBER},
    "member.removed": {"user": ID},
    "room.changed": {"changed": ROOM},
    "persona.bound": {"persona": PERSONA},
    "persona.unbound": {"persona": ID},
    "persona.changed": {"persona": PERSONA},
}


def check_frame(frame: Any) -> None:
    """Raise AssertionError unless the contract defines the frame with this shape."""
    kind = frame.get("type") if isinstance(frame, dict) else None
    shape = FRAMES.get(str(kind))
    assert shape is not None, f"unknown frame: {frame!r}"
    assert list(shape(frame, str(kind))) == []


def check(shape: Shape, value: Any) -> None:
    """Raise AssertionError unless the value has that shape."""
    assert list(shape(value, "body")) == []
