"""The tools that read the room of a run: `search_room` and `read_message`.

A call reads what its asker and its persona may read together: the messages of this room, and only
while both may answer there. What cannot be read is as absent as what does not exist.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal
from uuid import UUID

from django.db.models import QuerySet

from accounts.names import tell_apart
from agents.engine_types import speaker_line
from agents.tool_types import ToolFunction, ToolResult
from rooms.executors import READS, in_thread_until_stored
from rooms.models import AuthorKind, Message, MessageStatus, Room, Run
from rooms.runs.crews.rights import unauthorized
from rooms.runs.lifecycle import Job

MAX_SCANNED: Final = 20_000
"""The messages that one search reads: no index can find a part of a Korean word."""
MAX_FOUND: Final = 20
MAX_WORDS: Final = 8
BEFORE_MATCH: Final = 80
EXCERPT: Final = 300
NOT_FOUND: Final = ToolResult("There is no such message in this room.", failed=True)
"""For an unknown message, one of another room, and one that was deleted."""
_ID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

Read = Callable[[Room, Mapping[str, Any]], ToolResult]


def room_functions(job: Job) -> dict[str, ToolFunction]:
    """Return the tools that read the room of a run, by their key in the catalog."""
    reads: dict[str, Read] = {"search_room": search_room, "read_message": read_message}
    return {key: partial(_in_room, job, read) for key, read in reads.items()}


async def _in_room(
    job: Job, read: Read, _call: str, arguments: Mapping[str, Any]
) -> ToolResult | None:
    # Like the tools that store: a restart of the database is no reason to fail the whole answer.
    return await in_thread_until_stored(READS, _read, job.run, read, arguments)


def _read(run_id: UUID, read: Read, arguments: Mapping[str, Any]) -> ToolResult:
    """Read the room of a run. Raises AnswerFailed if its asker or its persona may not any more."""
    run = Run.objects.select_related("room__team", "persona").get(pk=run_id)
    if refusal := unauthorized(run.room, [run]).get(run):
        raise refusal
    return read(run.room, arguments)


def search_room(room: Room, arguments: Mapping[str, Any]) -> ToolResult:
    """Return the newest messages of a room that contain all words, each with an excerpt.

    Of MAX_SCANNED messages; the result says which message the search has reached.
    """
    words = unicodedata.normalize("NFC", str(arguments["words"])).split()[:MAX_WORDS]
    if not words:
        return ToolResult("Say which words to search for.", failed=True)
    scanned = room.messages.order_by("-seq")
    if arguments.get("before"):
        last = _message(room, str(arguments["before"]))
        if last is None:
            return NOT_FOUND
        scanned = scanned.filter(seq__lt=last.seq)
    # Only a column of the index: to pass over MAX_SCANNED messages reads none of them.
    end = scanned.values_list("seq", flat=True)[MAX_SCANNED : MAX_SCANNED + 1].first()
    matching = _readable(scanned).filter(seq__gt=end or 0)
    for word in words:
        matching = matching.filter(text__icontains=word)
    found = list(matching[: MAX_FOUND + 1])
    shown = [
        f"{line}\n{_excerpt(message.text, words)}"
        for message, line in zip(found[:MAX_FOUND], _headers(found[:MAX_FOUND]), strict=True)
    ]
    if len(found) > MAX_FOUND:
        more = f'There are more: search again with "before": "{found[MAX_FOUND - 1].pk}".'
    elif end:
        last_pk = room.messages.values_list("pk", flat=True).get(seq=end)
        more = f'Older messages were not searched: search again with "before": "{last_pk}".'
    else:
        more = "" if shown else "No message of this room contains all of these words."
    read = {message.pk: message.text for message in found[:MAX_FOUND]}
    return ToolResult("\n\n".join([*shown, more]).strip(), str(len(shown)), read=read)


def read_message(room: Room, arguments: Mapping[str, Any]) -> ToolResult:
    """Return a message behind the line that names its author; the argument is its id or a link."""
    message = _message(room, str(arguments["message"]))
    if message is None:
        return NOT_FOUND
    (line,) = _headers([message])
    return ToolResult(f"{line}\n{message.text}", read={message.pk: message.text})


def _message(room: Room, named: str) -> Message | None:
    """Return the message that an id or a link names, if it is a message of the room with a text."""
    ids = _ID.findall(named)
    own = room.messages.exclude(status=MessageStatus.STREAMING).exclude(text="")
    return own.filter(pk=UUID(ids[-1])).first() if ids else None


def _readable(messages: QuerySet[Message]) -> QuerySet[Message]:
    """Leave out unfinished answers, deleted messages, and versions that were replaced."""
    return (
        messages.filter(replaced_by=None).exclude(status=MessageStatus.STREAMING).exclude(text="")
    )


def _headers(messages: Sequence[Message]) -> list[str]:
    """Return the line that names the author of each message, with the facts of the message."""
    names = [(_speaker(m), (m.author_name, m.author_handle)) for m in messages]
    labels = tell_apart({(speaker, named): named for speaker, named in names})
    lines = []
    for message, key in zip(messages, names, strict=True):
        kind: Literal["user", "persona"] = (
            "user" if message.author_kind == AuthorKind.USER else "persona"
        )
        place = "" if message.in_room else ", in a thread"
        facts = f"{message.created_at:%Y-%m-%d %H:%M} UTC, message {message.pk}{place}"
        lines.append(f"{speaker_line(kind, labels[key])} {facts}")
    return lines


def _speaker(message: Message) -> tuple[str, object]:
    author = message.user_id or message.persona_id or message.author_handle
    return message.author_kind, author


def _excerpt(text: str, words: Sequence[str]) -> str:
    """Return the part of a text around the first word, as one line: it cannot forge a header."""
    line = " ".join(text.split())
    at = max(0, line.casefold().find(words[0].casefold()) - BEFORE_MATCH)
    part = line[at : at + EXCERPT]
    return f"{'…' if at else ''}{part}{'…' if at + EXCERPT < len(line) else ''}"
