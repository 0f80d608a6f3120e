"""What the model of a run gets of its room, within bounds: the turns, and facts about the room.

The turns of a run in a thread are the root and the newest replies; what is left of the budget goes
to the newest turns of the room, which stand before them. Messages that are older than the turns are
in the summary. `agents.engine.prompt` makes the prompt of these data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from django.db.models import BigIntegerField, QuerySet, UUIDField

from accounts.database.prepared_queries import Parameter, PreparedQuery
from accounts.names import tell_apart
from agents.engine_types import Present, Summary, Surroundings, Turn
from agents.models import Persona
from rooms.models import (
    AuthorKind,
    Message,
    MessageStatus,
    Room,
    RoomMember,
    RoomSummary,
    Run,
    SummaryState,
)
from rooms.runs.crews import round_steps, trees
from rooms.runs.crews.rights import BoundPersona
from rooms.runs.prompts.budget import MAX_TURNS, Budget, first_words

MAX_PEOPLE: Final = 30
"""The people whom a prompt names: those who have read or written last, by their read positions."""
COMPARED_PEOPLE: Final = 500
"""The members whose read positions are compared, so that a large room costs no more."""
MAX_PINS: Final = 10
SUMMARIES: Final = 3
"""The versions of the summary that are read for all runs: a later message may have the newest."""

Speaker = tuple[str, UUID | str]
"""The kind of an author, and its id; the handle for the author of a deleted account."""
Labels = dict[tuple[Speaker, str], str]


class Row(NamedTuple):
    """A message, with the name and the handle of its author at that time."""

    id: UUID
    seq: int
    kind: str
    user: UUID | None
    persona: UUID | None
    name: str
    handle: str
    text: str

    @property
    def speaker(self) -> Speaker:
        author = self.user if self.kind == AuthorKind.USER else self.persona
        return self.kind, author or self.handle


class Person(NamedTuple):
    """A member of the room."""

    id: UUID
    name: str
    handle: str


@dataclass(frozen=True, slots=True)
class RoomReading:
    """What all runs of a room that start together get of it, read once; newest pins first."""

    room: Room
    people: list[Person]
    personas: Sequence[BoundPersona]
    pins: list[Row]
    summaries: list[Summary]


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns, which end with the message that the run answers, and the facts about the room.

    `from_seq` is that of the oldest turn, if older messages of the room have not fitted; else None.
    """

    turns: list[Turn]
    room: Surroundings
    from_seq: int | None


def read_room(room: Room, personas: Iterable[BoundPersona]) -> RoomReading:
    """Return what is the same for all runs of a room; three queries.

    `personas` are those that are bound to the room; those that are switched off are not present.
    """
    return RoomReading(
        room=room,
        people=[Person(*row) for row in _PEOPLE(room=room.pk)],
        personas=[persona for persona in personas if persona.enabled],
        pins=[Row(*row) for row in _PINS(room=room.pk)],
        summaries=[Summary(*row) for row in _SUMMARIES(room=room.pk)] if room.summarizes else [],
    )


def conversation(run: Run, reading: RoomReading) -> Conversation:
    """Return what the model of a run gets; one query, three in a thread.

    One more finds the summary for an old message: a retry, or an answer that has waited for hours.
    The turns end with the message that the run answers, in a round with the answer before, or with
    the question of the run that has asked for this one; these take one or two queries more.
    Unfinished answers and empty messages are left out. Two speakers with names that can be confused
    have their handles in their labels.
    """
    asking = trees.asking(run)
    answered = asking.run if asking else run
    last = round_steps.answer_before(answered) or answered.message
    place = _place(last)
    said, around, fell_out = _said(last, place)
    from_seq = said[0].seq if said and fell_out else None
    if last != answered.message:  # long answers displace nothing
        known = {row.id for row in said}
        first = _own(answered.message, answered.message.seq)
        said = [*(row for row in first if row.id not in known), *said]
    if asking and asking.question:
        said.append(_asked_by(asking, run, place))
    asker = _asker(run, reading.people)
    own = (AuthorKind.PERSONA.value, run.persona_id)
    labels = _labels(run.persona, asker, reading, [*said, *around, *reading.pins])
    summary = _summary(reading, place)

    def turn(row: Row) -> Turn:
        return Turn(
            author=labels[row.speaker, row.name],
            kind="user" if row.kind == AuthorKind.USER else "persona",
            own=row.speaker == own,
            text=row.text,
            message=row.id,
        )

    people = reading.people[:MAX_PEOPLE]
    surroundings = Surroundings(
        name=reading.room.name,
        topic=reading.room.topic,
        asker=labels[_speaker(asker), asker.name],
        present=(
            *(Present(labels[_speaker(each), each.name], "user") for each in people),
            *(_present(each, labels, run) for each in reading.personas),
        ),
        has_others=len(reading.people) > MAX_PEOPLE,
        pinned=tuple(turn(row._replace(text=first_words(row.text))) for row in reading.pins[::-1]),
        summary=summary,
        is_thread=last.thread_root_id is not None,
        around=tuple(map(turn, around)),
    )
    return Conversation(
        turns=list(map(turn, said)),
        room=surroundings,
        from_seq=from_seq,
    )


def _summary(reading: RoomReading, place: int) -> Summary | None:
    """Return the newest summary of what was said before a message."""
    for summary in reading.summaries:
        if summary.up_to_seq < place:
            return summary
    if len(reading.summaries) < SUMMARIES:
        return None
    return next((Summary(*row) for row in _SUMMARY_BEFORE(room=reading.room.pk, seq=place)), None)


def _said(message: Message, place: int) -> tuple[list[Row], list[Row], bool]:
    """Return the conversation up to a message, and turns of the room around it, oldest first.

    The message itself is always there, however long it is, and so is the root of its thread. The
    last value is True if older messages of the room were left out; never for a thread.
    """
    budget = Budget()
    own = _own(message, place)
    for row in own:
        budget.spend(row.text)
    if message.thread_root_id is None:
        before = [Row(*row) for row in _IN_ROOM(room=message.room_id, seq=place)]
        kept = budget.take(before)
        return [*kept[::-1], *own], [], len(kept) < len(before)
    root = _root(message.thread_root_id)
    for row in root:
        budget.spend(row.text)
    replies = budget.take(Row(*row) for row in _IN_THREAD(root=message.thread_root_id, seq=place))
    thread = [*root, *replies[::-1], *own]
    known = {row.id for row in thread}
    rows = (Row(*row) for row in _IN_ROOM(room=message.room_id, seq=place)) if budget.turns else ()
    around = budget.take(row for row in rows if row.id not in known)
    return thread, around[::-1], False


def _root(version: UUID | None) -> list[Row]:
    """Return the row of a root; of a new version without a text yet, that of the version before."""
    while version is not None:
        if rows := _ROOT(root=version):
            return [Row(*row) for row in rows]
        version = Message.objects.values_list("replaces", flat=True).filter(pk=version).first()
    return []


def _place(message: Message) -> int:
    """Return the seq of a message; for a version that was replaced, that of the last version."""
    while message.replaced_by is not None:
        message = Message.objects.only("seq", "replaced_by").get(pk=message.replaced_by)
    return message.seq


def _own(message: Message, place: int) -> list[Row]:
    """Return the row of a message that has a text; it may be a version that was replaced."""
    row = Row(
        *(message.pk, place, message.author_kind, message.user_id, message.persona_id),
        *(message.author_name, message.author_handle, message.text),
    )
    return [row] if message.text else []


def _asked_by(asking: trees.Asking, run: Run, place: int) -> Row:
    """Return the question of another run as a message; its id is that of the call."""
    lead = asking.run.persona
    assert run.parent_call_id is not None, "another run has asked"
    return Row(
        *(run.parent_call_id, place, AuthorKind.PERSONA.value, None, lead.pk),
        *(lead.name, lead.handle, asking.question),
    )


def _asker(run: Run, people: Iterable[Person]) -> Person:
    """Return the user who asked; one query if they are not among the members that were read."""
    for person in people:
        if person.id == run.requested_by_id:
            return person
    asker = run.requested_by
    assert asker is not None, "a run without an asker is not started"
    return Person(asker.pk, asker.name, asker.handle)


def _speaker(person: Person) -> Speaker:
    return AuthorKind.USER.value, person.id


def _present(persona: BoundPersona, labels: Labels, run: Run) -> Present:
    speaker = (AuthorKind.PERSONA.value, persona.id)
    is_own = persona.id == run.persona_id
    return Present(labels[speaker, persona.name], "persona", is_own, persona.role)


def _labels(own: Persona, asker: Person, reading: RoomReading, rows: Iterable[Row]) -> Labels:
    """Return a label for each speaker and name, which no other speaker has."""
    names = {(row.speaker, row.name): (row.name, row.handle) for row in rows}
    for person in (asker, *reading.people[:MAX_PEOPLE]):
        names[_speaker(person), person.name] = (person.name, person.handle)
    names[(AuthorKind.PERSONA.value, own.pk), own.name] = (own.name, own.handle)
    for persona in reading.personas:
        speaker = (AuthorKind.PERSONA.value, persona.id)
        names[speaker, persona.name] = (persona.name, persona.handle)
    return tell_apart(names)


_COLUMNS: Final = (
    *("id", "seq", "author_kind", "user_id", "persona_id"),
    *("author_name", "author_handle", "text"),
)
_Columns = tuple[UUID, int, str, UUID | None, UUID | None, str, str, str]


def _with_text(messages: QuerySet[Message]) -> QuerySet[Message, _Columns]:
    finished = messages.exclude(status=MessageStatus.STREAMING).exclude(text="")
    return finished.values_list(*_COLUMNS)


def _newest(messages: QuerySet[Message]) -> QuerySet[Message, _Columns]:
    return _with_text(messages).order_by("-seq")[:MAX_TURNS]


def _newest_summaries(
    summaries: QuerySet[RoomSummary], count: int
) -> QuerySet[RoomSummary, tuple[UUID, int, str]]:
    written = summaries.filter(state=SummaryState.WRITTEN).order_by("-up_to_seq")
    return written.values_list("pk", "up_to_seq", "text")[:count]


def _people(room: Parameter) -> QuerySet[RoomMember, tuple[UUID, str, str]]:
    some = RoomMember.objects.active().filter(room=room).order_by().values("pk")[:COMPARED_PEOPLE]
    people = RoomMember.objects.filter(pk__in=some).order_by("-read_seq", "pk")
    return people.values_list("user_id", "user__name", "user__handle")[: MAX_PEOPLE + 1]


_ID: Final = UUIDField()
_SEQ: Final = BigIntegerField()
_PEOPLE: Final = PreparedQuery(_people, room=_ID)
_PINS: Final = PreparedQuery(
    lambda room: _with_text(
        Message.objects.filter(room=room, pinned_seq__isnull=False).order_by("-pinned_seq")
    )[:MAX_PINS],
    room=_ID,
)
_SUMMARIES: Final = PreparedQuery(
    lambda room: _newest_summaries(RoomSummary.objects.filter(room=room), SUMMARIES), room=_ID
)
_SUMMARY_BEFORE: Final = PreparedQuery(
    lambda room, seq: _newest_summaries(
        RoomSummary.objects.filter(room=room, up_to_seq__lt=seq), count=1
    ),
    room=_ID,
    seq=_SEQ,
)
_IN_ROOM: Final = PreparedQuery(
    lambda room, seq: _newest(Message.objects.of_room().filter(room=room, seq__lt=seq)),
    room=_ID,
    seq=_SEQ,
)
_IN_THREAD: Final = PreparedQuery(
    lambda root, seq: _newest(Message.objects.current().filter(thread_root=root, seq__lt=seq)),
    root=_ID,
    seq=_SEQ,
)
_ROOT: Final = PreparedQuery(lambda root: _with_text(Message.objects.filter(pk=root)), root=_ID)
