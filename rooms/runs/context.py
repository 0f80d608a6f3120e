"""The conversation that the model of a run gets: the newest messages of the room, within bounds."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from agents.engine_types import Turn
from rooms.models import AuthorKind, Message, MessageStatus, Run

MAX_TURNS: Final = 40
MAX_CHARACTERS: Final = 60_000

AuthoredText = tuple[str, str, UUID | None, str]
"""The author's name, the author's kind, the persona (None for a user), and the text."""


def turns(run: Run) -> list[Turn]:
    """Return the turns that the model of a run gets, oldest first; one query.

    They end with the message that the run answers. Unfinished answers and empty messages are left
    out.
    """
    newest_first = (
        Message.objects.filter(room_id=run.room_id, seq__lte=run.message.seq)
        .exclude(status=MessageStatus.STREAMING)
        .exclude(text="")
        .order_by("-seq")
        .values_list("author_name", "author_kind", "persona_id", "text")[:MAX_TURNS]
    )
    return [
        Turn(
            author=name,
            kind="user" if kind == AuthorKind.USER else "persona",
            own=persona_id == run.persona_id,
            text=text,
        )
        for name, kind, persona_id, text in _within_bound(newest_first)
    ]


def _within_bound(newest_first: Iterable[AuthoredText]) -> list[AuthoredText]:
    """Return the newest messages that fit into MAX_CHARACTERS, oldest first.

    The newest message is always kept, however long it is.
    """
    kept: list[AuthoredText] = []
    characters_left = MAX_CHARACTERS
    for message in newest_first:
        characters_left -= len(message[-1])
        if kept and characters_left < 0:
            break
        kept.append(message)
    return kept[::-1]
