"""The template context of every page of a team: the sidebar; the list of rooms."""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Left

from accounts.models import Team, User, active_member
from accounts.permissions import (
    CREATE_ROOM,
    JOIN_ROOM,
    MANAGE_AGENTS,
    MANAGE_PEOPLE,
    team_permissions,
)
from accounts.services.people import matching_users
from agents.models import Persona
from agents.permissions import personas_visible_to
from rooms.fanout.unread import MENTIONS, MENTIONS_IN_THREADS, MESSAGES, at_most
from rooms.models import Message, Privacy, Room, RoomMember, RoomPersona
from rooms.own_threads import followed_threads
from rooms.pages.acting.to_decide import rooms_that_ask
from rooms.queries import Companion, companions, direct_name
from rooms.services import joinable_rooms

LAST_LINE: Final = 120
SIDEBAR_ITEMS: Final = 25
"""The rows of a section of the sidebar that the server renders."""
SIDEBAR_ROOMS: Final = 500
"""The rooms of the sidebar; scripts render those without a row of the server as they are needed."""
PAGE_ITEMS: Final = 50
PEOPLE: Final = 50
"""The people that the opened list of people gets at once."""
ICONS: Final = ("hash", "lock", "bell-off", "user", "users")
_WITHOUT_ROOM: Final = UUID(int=0)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room of the user, with the unread counts.

    `asks` says that a decision waits for the user. `last_line` is read for the list of rooms only;
    a direct room has `companions`.
    """

    id: UUID
    name: str = ""
    topic: str = ""
    privacy: str = Privacy.PRIVATE
    direct: bool = False
    favourite: bool = False
    muted: bool = False
    unread: int = 0
    mentions: int = 0
    is_mentioned_in_threads: bool = False
    read_seq: int = 0
    welcome: bool = False
    asks: bool = False
    last_line: str = ""
    companions: Sequence[Companion] = ()

    @property
    def icon(self) -> str:
        """The icon before the name; a direct room that is not muted has its companions instead."""
        if self.muted:
            return "bell-off"
        if self.direct:
            return "users" if len(self.companions) > 1 else "user"
        return "lock" if self.privacy == Privacy.PRIVATE else "hash"

    @property
    def state(self) -> str:
        if self.muted:
            return "muted"
        return "mentioned" if self.mentions else "unread" if self.unread else ""

    @property
    def place(self) -> tuple[Any, ...]:
        """The sort key: mentions first, then unread rooms, each by name."""
        ranks = ["mentioned", "unread"]
        rank = ranks.index(self.state) if self.state in ranks else len(ranks)
        return (rank, self.name.casefold(), self.id)


@dataclass(frozen=True, slots=True)
class Section:
    """A foldable list of rooms in the sidebar; `waiting` are the rooms that scripts render."""

    key: str
    rows: list[RoomRow]
    waiting: dict[str, Any] | None
    unread: int
    mentions: int
    has_current: bool

    @property
    def data_id(self) -> str:
        """The id of the element with the waiting rooms."""
        return f"waiting-{self.key}"


@dataclass(frozen=True, slots=True)
class ListPages:
    """The numbers of the pages that the list of rooms shows, and the words of their names."""

    rooms: str = ""
    joinable: str = ""
    archived: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class NumberedPage(Generic[Item]):
    """A page of a list, for `rooms/_pages.html`. Unlike Django's, it does not count the list."""

    items: list[Item]
    number: int
    has_next: bool

    @property
    def previous(self) -> int:
        return self.number - 1

    @property
    def next(self) -> int:
        return self.number + 1


def shell_context(
    user: User,
    team: Team,
    room: Room | None = None,
    permissions: frozenset[str] | None = None,
) -> dict[str, Any]:
    """Return the context of `shell.html`; `rows` are the rooms of the sidebar by id.

    `permissions` are those of the user on the team, if the caller has read them.

    The number of queries does not depend on the number of rooms. The page has at most SIDEBAR_ROOMS
    rooms, of which SIDEBAR_ITEMS of each section are rendered, and no other list has more than
    SIDEBAR_ITEMS items.
    """
    permissions = team_permissions(user, team) if permissions is None else permissions
    team_wide = CREATE_ROOM in permissions
    asking, unread_threads = _marks(user, team)
    rows = [
        replace(row, asks=True) if row.id in asking else row
        for row in _sidebar_rooms(user, team, room)
    ]
    sections = _sections(rows[:SIDEBAR_ROOMS], room)
    personas = list(personas_around(user, team, team_wide=team_wide)[: SIDEBAR_ITEMS + 1])
    return {
        "team": team,
        "teams": Team.objects.visible_to(user),
        "rows": {row.id: row for row in rows},
        "asking": asking,
        "sections": sections,
        "has_waiting_rooms": any(section.waiting for section in sections),
        "room_template": RoomRow(_WITHOUT_ROOM, privacy=Privacy.TEAM),
        "has_more_rooms": len(rows) > SIDEBAR_ROOMS,
        "personas": personas[:SIDEBAR_ITEMS],
        "has_more_personas": len(personas) > SIDEBAR_ITEMS,
        "me": user,
        "can_manage": MANAGE_AGENTS in permissions,
        "can_create_rooms": team_wide,
        "may_join": JOIN_ROOM in permissions,
        "may_invite": MANAGE_PEOPLE in permissions,
        "current_room_id": room.pk if room else None,
        "unread_threads": at_most(sum(unread_threads.values())),
        "unread_threads_by_room": json.dumps(
            {str(room_id): count for room_id, count in unread_threads.items()}
        ),
    }


def list_context(user: User, team: Team, pages: ListPages) -> dict[str, Any]:
    """Return the context of the list of rooms, including rooms that `user` may join."""
    context = shell_context(user, team)
    joinable = joinable_rooms(user, team) if context["may_join"] else Room.objects.none()
    own = Room.objects.visible_to(user).filter(team=team, direct=False)
    mine = _rows_of(user, own.filter(archived_at=None, name__icontains=pages.words))
    found = _page(mine.order_by("room__name", "room"), pages.rooms)
    rows = [_row(each) for each in found.items]
    sections = context["sections"]
    drawn = [row for section in sections for row in section.rows]
    lines = _last_lines([row.id for row in [*rows, *drawn]])
    archived = own.exclude(archived_at=None).order_by("name", "pk")
    return context | {
        "sections": [replace(each, rows=_with_lines(each.rows, lines)) for each in sections],
        "room_rows": _with_lines(rows, lines),
        "room_page": found,
        "words": pages.words,
        "joinable": _page(joinable.order_by("name", "pk"), pages.joinable),
        "archived": _page(archived, pages.archived),
    }


def _sections(rows: Sequence[RoomRow], room: Room | None) -> list[Section]:
    """Return the sections of the sidebar, without an empty list of favourites."""
    favourites = [row for row in rows if row.favourite]
    others = [row for row in rows if not row.favourite]
    parts = {
        "favourites": favourites,
        "rooms": [row for row in others if not row.direct],
        "direct": [row for row in others if row.direct],
    }
    current = room.pk if room else None
    shown = {key: part for key, part in parts.items() if part or key != "favourites"}
    return [_section(key, part, current) for key, part in shown.items()]


def _section(key: str, rows: Sequence[RoomRow], current: UUID | None) -> Section:
    in_order = sorted(rows, key=lambda row: row.place)
    drawn, waiting = in_order[:SIDEBAR_ITEMS], in_order[SIDEBAR_ITEMS:]
    here = [row for row in waiting if row.id == current]
    hidden = [row for row in waiting if row not in here]
    heard = [row for row in rows if not row.muted]
    return Section(
        key=key,
        rows=drawn + here,
        waiting=_columns(hidden) if hidden else None,
        unread=sum(row.unread for row in heard),
        mentions=sum(row.mentions for row in heard),
        has_current=any(row.id == current for row in rows),
    )


def _page(rows: QuerySet[Any, Item], number: str) -> NumberedPage[Item]:
    """Return a page of PAGE_ITEMS rows; the first page for a wrong number."""
    wanted = int(number) if number.isascii() and number.isdecimal() and len(number) < 6 else 1
    start = max(0, wanted - 1) * PAGE_ITEMS
    found = list(rows[start : start + PAGE_ITEMS + 1])
    if not found and start:
        return _page(rows, "1")
    return NumberedPage(found[:PAGE_ITEMS], start // PAGE_ITEMS + 1, len(found) > PAGE_ITEMS)


def _sidebar_rooms(user: User, team: Team, room: Room | None) -> list[RoomRow]:
    """Return one more than SIDEBAR_ROOMS of the user's rooms: `room`, then the active ones."""
    own = Room.objects.visible_to(user).filter(team=team, archived_at=None)
    active_at = Coalesce("room__last_message_at", "room__created_at")
    rows = _rows_of(user, own).order_by(active_at.desc(), "room")
    found = [_row(each) for each in rows[: SIDEBAR_ROOMS + 1]]
    if room is not None and len(found) > SIDEBAR_ROOMS and all(row.id != room.pk for row in found):
        found = [*(_row(each) for each in _rows_of(user, own.filter(pk=room.pk))), *found]
    others = companions(user, [row.id for row in found if row.direct])
    return [_with_companions(row, others.get(row.id, ())) if row.direct else row for row in found]


def _rows_of(user: User, rooms: QuerySet[Room]) -> QuerySet[RoomMember, tuple[Any, ...]]:
    """Return the memberships of the user in these rooms, with the values for `_row`."""
    inside = RoomMember.objects.active().filter(user=user, room__in=rooms.values("pk"))
    room = ("room_id", "room__name", "room__topic", "room__privacy", "room__direct")
    own = ("favourite", "muted", MESSAGES, MENTIONS, MENTIONS_IN_THREADS, "read_seq", "welcome")
    return inside.values_list(*room, *own)


def _row(values: tuple[Any, ...]) -> RoomRow:
    room_id, name, topic, privacy, direct, favourite, muted, *rest = values
    messages, mentions, inside, read_seq, welcome = rest
    counts = at_most(messages), at_most(mentions + inside), inside > 0
    own = favourite, muted, *counts, read_seq, welcome
    return RoomRow(room_id, name, topic, privacy, direct, *own)


def _with_companions(row: RoomRow, others: Sequence[Companion]) -> RoomRow:
    return replace(row, name=direct_name(others), companions=others)


def _columns(rows: Sequence[RoomRow]) -> dict[str, Any]:
    """Return rooms for `static/maru/sidebar_rooms.js`, as columns: 500 rooms have half the length.

    The ids are one text in base64, and the icons an index into ICONS for each room.
    """
    ids = b"".join(row.id.bytes for row in rows)
    return {
        "ids": b64encode(ids).decode(),
        "names": [row.name for row in rows],
        "icons": "".join(str(ICONS.index(row.icon)) for row in rows),
        "unread": [row.unread for row in rows],
        "mentions": {n: row.mentions for n, row in enumerate(rows) if row.mentions},
    }


def _last_lines(room_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the author and the start of the last message of each room."""
    said = Message.objects.of_room().filter(room=OuterRef("pk")).exclude(text="").order_by("-seq")
    start = Left(F("text"), LAST_LINE)
    rooms = Room.objects.filter(pk__in=set(room_ids)).values_list(
        "pk",
        Subquery(said.values("author_name")[:1]),
        Subquery(said.annotate(start=start).values("start")[:1]),
    )
    return {pk: last_line(author, text) for pk, author, text in rooms if text}


def _with_lines(rows: Sequence[RoomRow], lines: dict[UUID, str]) -> list[RoomRow]:
    return [replace(row, last_line=lines.get(row.id, "")) for row in rows]


def last_line(author: str, text: str) -> str:
    """Return the author and the start of a message, in one line."""
    cut = "…" if len(text) >= LAST_LINE else ""
    return f"{author}: {' '.join(text[:LAST_LINE].split())}{cut}"


def room_row(user: User, room: Room) -> RoomRow:
    """Return the row of a room that `user` is in."""
    row = _row(_rows_of(user, Room.objects.filter(pk=room.pk)).get())
    return _with_companions(row, companions(user, [row.id]).get(row.id, ())) if row.direct else row


def people_around(user: User, team: Team, *, team_wide: bool) -> QuerySet[User]:
    """Return the other people of the team; if not `team_wide`, only people who share a room."""
    people = User.objects.filter(active_member("memberships__"), memberships__team=team)
    people = people.exclude(pk=user.pk)
    if not team_wide:
        shared = Room.objects.visible_to(user).filter(team=team)
        inside = RoomMember.objects.active().filter(room__in=shared)
        people = people.filter(pk__in=inside.values("user"))
    return people.order_by("name", "pk")


def people_context(user: User, team: Team, words: str, after: UUID | None) -> dict[str, Any]:
    """Return the context of `rooms/_people.html`: people whose name or handle has these words.

    With `after`, the people behind that person in the list.
    """
    team_wide = CREATE_ROOM in team_permissions(user, team)
    people = people_around(user, team, team_wide=team_wide)
    if words:
        people = people.filter(pk__in=matching_users(team.pk, words))
    last = people.filter(pk=after).first() if after else None
    if last is not None:
        people = people.filter(Q(name__gt=last.name) | Q(name=last.name, pk__gt=last.pk))
    found = list(people[: PEOPLE + 1])
    more = found[PEOPLE - 1].pk if len(found) > PEOPLE else None
    return {"team": team, "people": found[:PEOPLE], "words": words, "more": more}


def personas_around(user: User, team: Team, *, team_wide: bool) -> QuerySet[Persona]:
    """Return the personas that `user` may see, and those bound to one of the user's rooms."""
    met = RoomPersona.objects.filter(room__in=Room.objects.visible_to(user))
    seen = personas_visible_to(user, team, team_wide=team_wide)
    return Persona.objects.filter(
        Q(pk__in=seen.values("pk")) | Q(pk__in=met.values("persona")), team=team
    )


def _marks(user: User, team: Team) -> tuple[set[UUID], dict[UUID, int]]:
    """Return the rooms in which a decision of the user is waited for, and the number of followed
    threads with unread replies by room; one query."""
    unread = followed_threads(user, team).filter(is_unread=True).order_by().values("room")
    counted = unread.annotate(count=Count("pk")).values_list("room", "count")
    asking = (rooms.annotate(count=Value(0)) for rooms in rooms_that_ask(user, team))
    found = list(counted.union(*asking))
    return (
        {room_id for room_id, count in found if not count},
        {room_id: count for room_id, count in found if count},
    )
