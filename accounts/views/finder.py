"""A finder: the field of a form that offers people, personas or rooms, and searches for others.

The page offers the first candidates and those that the user has found, with a box to tick for
each. Without scripts, the button `find` sends the form, and the response is the page with what was
found; ticked candidates stay ticked. `static/maru/finder.js` requests the finder's own URL instead.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import HttpRequest, JsonResponse, QueryDict

from accounts.models import TeamMember, User
from accounts.services.people import matching_members
from accounts.views.lists import typed_words

OFFERED: Final = 8
LISTED: Final = 20
MAX_CHOSEN: Final = 50
"""The candidates that one request can add."""
FIND: Final = "find"
"""The name of the button that searches without scripts."""

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Choice:
    """A person, a persona, or another thing with an icon in a finder."""

    id: UUID
    name: str
    note: str
    person: User | None = None
    persona: Any = None  # Any: this app does not know personas
    icon: str = ""


@dataclass(frozen=True, slots=True)
class Candidates(Generic[Row]):
    """The rows from which a finder chooses; `key` is the field whose values the form sends."""

    rows: QuerySet[Row]
    matching: Callable[[QuerySet[Row], str], QuerySet[Row]]
    choice: Callable[[Row], Choice]
    key: str = "pk"

    def search(self, words: str, limit: int) -> tuple[list[Choice], bool]:
        """Return the first choices that match `words`, and True if there are more."""
        rows = self.matching(self.rows, words) if words else self.rows
        found = [self.choice(row) for row in rows[: limit + 1]]
        return found[:limit], len(found) > limit

    def get(self, ids: Iterable[str]) -> list[Choice]:
        """Return the choices with these ids, at most MAX_CHOSEN; unknown ids are left out."""
        known = [pk for pk in map(_uuid, ids) if pk][:MAX_CHOSEN]
        if not known:
            return []
        return [self.choice(row) for row in self.rows.filter(**{f"{self.key}__in": known})]


@dataclass(frozen=True, slots=True)
class Finder:
    """What `_finder.html` shows: the chosen candidates first, then those that were found."""

    name: str
    url: str
    words: str
    chosen: Sequence[Choice]
    found: Sequence[Choice]
    has_more: bool
    single: bool

    def __bool__(self) -> bool:
        """Return False if there is no candidate at all."""
        return bool(self.chosen or self.found or self.words or self.has_more)


def finder(
    candidates: Candidates[Any],
    name: str,
    url: str,
    sent: QueryDict,
    *,
    single: bool = False,
    offers: bool = True,
) -> Finder:
    """Return the finder of the field `name`, with what the form has sent: choice and words.

    With `offers`, the finder shows the first candidates before the user has searched.
    """
    words = typed_words(sent.get(f"{name}_q", ""))
    chosen = candidates.get(sent.getlist(name))
    found, has_more = candidates.search(words, OFFERED) if words or offers else ([], True)
    ticked = {choice.id for choice in chosen}
    others = [choice for choice in found if choice.id not in ticked]
    return Finder(name, url, words, chosen, others, has_more, single)


def found_as_json(request: HttpRequest, candidates: Candidates[Any]) -> JsonResponse:
    """Return what matches `?q=`, for the script. The caller has checked the permission."""
    found, has_more = candidates.search(typed_words(request.GET.get("q", "")), LISTED)
    return JsonResponse({"items": [_as_json(each) for each in found], "more": has_more})


def people(members: QuerySet[TeamMember], team_id: UUID) -> Candidates[TeamMember]:
    """Return the candidates of a finder of people: members of one team, by name."""
    return Candidates(
        members.select_related("user").order_by("name_key", "pk"),
        lambda rows, words: matching_members(rows, team_id, words),
        lambda member: as_choice(member.user),
        key="user_id",
    )


def as_choice(person: User) -> Choice:
    """Return a person as a choice."""
    return Choice(person.pk, person.name, f"@{person.handle}", person=person)


def _as_json(choice: Choice) -> dict[str, str]:
    plain = {"id": str(choice.id), "name": choice.name, "note": choice.note}
    if choice.person is not None:
        return {**plain, "wood": choice.person.wood}
    if choice.icon:
        return {**plain, "icon": choice.icon}
    return {**plain, "pigment": choice.persona.pigment, "lattice": choice.persona.lattice}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
