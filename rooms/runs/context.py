"""The conversation that the model of a run gets, within bounds.

It is the newest messages of the room, or the thread of the message that the run answers.
"""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from django.db.models import BigIntegerField, QuerySet, UUIDField

from accounts.database.prepared_queries import PreparedQuery
from accounts.names import tell_apart
from agents.engine_types import Turn
from rooms.models import AuthorKind, Message, MessageStatus, Run
from rooms.runs.crews import rounds, trees

MAX_TURNS: Final = 40
MAX_CHARACTERS: Final = 60_000

Speaker = tuple[str, UUID | str]
"""The kind of an author, and its id; the handle for the author of a deleted account."""

Said = tuple[Speaker, str, str, str]
"""The speaker, with the name and the handle at that time, and the text."""

Row = tuple[str, UUID | None, UUID | None, str, str, str]
"""The columns of a message that `_said` reads."""


def turns(run: Run) -> list[Turn]:
    """Return the turns that the model of a run gets, oldest first; one query, two in a thread.

    They end with the message that the run answers, in a round with the answer before, or with the
    question of the run that has asked for this one; these take one or two queries more. Unfinished
    answers and empty messages are left out. Two speakers with names that can be confused have their
    handles in `author`.
    """
    asking = trees.asking(run)
    answered = asking.run if asking else run
    last = rounds.answer_before(answered) or answered.message
    said = _within_bound(map(_said, _newest_first(last)))
    asked = [each for each in map(_said, _own(answered.message)) if last != answered.message]
    said = [*(each for each in asked if each not in said), *said]  # long answers displace nothing
    if asking and asking.question:
        lead = asking.run.persona
        speaker = (AuthorKind.PERSONA.value, lead.pk)
        said.append((speaker, lead.name, lead.handle, asking.question))
    own = (AuthorKind.PERSONA.value, run.persona_id)
    labels = _labels([*said, (own, run.persona.name, run.persona.handle, "")])
    return [
        Turn(
            author=labels[speaker, name],
            kind="user" if speaker[0] == AuthorKind.USER else "persona",
            own=speaker == own,
            text=text,
        )
        for speaker, name, _handle, text in said
    ]


def _newest_first(message: Message) -> list[Row]:
    """Return the messages of a conversation up to `message`; a thread includes its root."""
    root, place, own = message.thread_root_id, _place(message), _own(message)
    if root is None:
        return [*own, *_IN_ROOM(room=message.room_id, seq=place)][:MAX_TURNS]
    replies = [*own, *_IN_THREAD(root=root, seq=place)][:MAX_TURNS]
    return replies if len(replies) == MAX_TURNS else [*replies, *_root(root)]


def _root(version: UUID | None) -> list[Row]:
    """Return the row of a root; of a new version without a text yet, that of the version before."""
    while version is not None:
        if rows := _ROOT(root=version):
            return rows
        version = Message.objects.values_list("replaces", flat=True).filter(pk=version).first()
    return []


def _place(message: Message) -> int:
    """Return the seq of a message; for a version that was replaced, that of the last version."""
    while message.replaced_by is not None:
        message = Message.objects.only("seq", "replaced_by").get(pk=message.replaced_by)
    return message.seq


def _own(message: Message) -> list[Row]:
    """Return the row of a message that has a text; it may be a version that was replaced."""
    author = (message.author_kind, message.user_id, message.persona_id)
    row = (*author, message.author_name, message.author_handle, message.text)
    return [row] if message.text else []


def _said(row: Row) -> Said:
    kind, user, persona, name, handle, text = row
    author = user if kind == AuthorKind.USER else persona
    return (kind, author or handle), name, handle, text


def _labels(said: Iterable[Said]) -> dict[tuple[Speaker, str], str]:
    """Return a label for each speaker and name, which no other speaker has."""
    return tell_apart({(speaker, name): (name, handle) for speaker, name, handle, _text in said})


def _within_bound(newest_first: Iterable[Said]) -> list[Said]:
    """Return the newest messages that fit into MAX_CHARACTERS, oldest first.

    The newest message is always kept, however long it is.
    """
    kept: list[Said] = []
    characters_left = MAX_CHARACTERS
    for message in newest_first:
        characters_left -= len(message[-1])
        if kept and characters_left < 0:
            break
        kept.append(message)
    return kept[::-1]


def _rows(messages: QuerySet[Message]) -> QuerySet[Message, Row]:
    """Return the newest rows of messages with a text, newest first."""
    said = messages.exclude(status=MessageStatus.STREAMING).exclude(text="").order_by("-seq")
    return said.values_list(
        "author_kind", "user_id", "persona_id", "author_name", "author_handle", "text"
    )[:MAX_TURNS]


_IN_ROOM: Final = PreparedQuery(
    lambda room, seq: _rows(Message.objects.of_room().filter(room=room, seq__lt=seq)),
    room=UUIDField(),
    seq=BigIntegerField(),
)
_IN_THREAD: Final = PreparedQuery(
    lambda root, seq: _rows(Message.objects.current().filter(thread_root=root, seq__lt=seq)),
    root=UUIDField(),
    seq=BigIntegerField(),
)
_ROOT: Final = PreparedQuery(lambda root: _rows(Message.objects.filter(pk=root)), root=UUIDField())
