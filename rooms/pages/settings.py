"""The template context of a room's settings page."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.db.models import Case, Exists, OuterRef, QuerySet, Value, When
from django.db.models.functions import Concat, Lower
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import User
from accounts.services.people import matching_users
from accounts.views.finder import finder
from accounts.views.lists import ListPage, as_page, list_page, typed_words
from rooms.models import Room, RoomMember, RoomPersona, RoomRole
from rooms.pages.finders import people_outside, personas_outside, successors
from rooms.pages.forms import RoomSettingsForm
from rooms.pages.sidebar import shell_context

MEMBERS_SHOWN: Final = 20
PERSONAS_SHOWN: Final = 10


def settings_context(
    request: HttpRequest, user: User, room: Room, form: RoomSettingsForm
) -> dict[str, Any]:
    """Return the context. `?q=` and `?after=` choose the members, `?personas=` the personas.

    A form that was sent to find people or personas keeps what was ticked in it.
    """
    bindings = list(room.bindings.select_related("persona"))  # at most MAX_BOUND_PERSONAS
    form.offer([(each.persona_id, each.persona.name) for each in bindings])
    around = shell_context(user, room.team, room)
    team_wide = around["can_create_rooms"]
    people = people_outside(user, room, team_wide=team_wide)
    personas = personas_outside(user, room, team_wide=team_wide)

    def found(name: str, candidates: Any, view: str, **options: bool) -> Any:
        return finder(candidates, name, reverse(view, args=[room.pk]), request.POST, **options)

    return {
        **around,
        "room": room,
        "form": form,
        "members": _members(request, room),
        "roles": [(role.value, role.label) for role in RoomRole],
        "muted": {UUID(persona_id) for persona_id in room.muted_personas},
        "bindings": _part(bindings, request.GET.get("personas", "")),
        "people_finder": found("person", people, "rooms:find_people"),
        "persona_finder": found("persona", personas, "rooms:find_personas"),
        "successor_finder": found(
            "successor", successors(user, room), "rooms:find_members", single=True, offers=False
        ),
    }


def _members(request: HttpRequest, room: Room) -> ListPage[RoomMember]:
    """Return a page of members, from owners to readers and by name in each role."""
    words, after = typed_words(request.GET.get("q", "")), request.GET.get("after", "")
    members: QuerySet[Any] = room.members.active().select_related("user")
    if words:
        members = members.filter(user__in=matching_users(room.team_id, words))
    roles = [When(role=role, then=Value(str(rank))) for rank, role in enumerate(RoomRole.values)]
    owners = RoomMember.objects.active().filter(room=room, role=RoomRole.OWNER)
    in_order = members.annotate(
        place=Concat(Case(*roles), Lower("user__name")),
        has_other_owner=Exists(owners.exclude(pk=OuterRef("pk"))),
    )
    return list_page(in_order, words=words, after=after, by="place", size=MEMBERS_SHOWN)


def _part(bindings: Sequence[RoomPersona], after: str) -> ListPage[RoomPersona]:
    """Return a page of the bound personas, in the order in which they were bound."""
    ids = [str(each.pk) for each in bindings]
    start = ids.index(after) + 1 if after in ids else 0
    end = start + PERSONAS_SHOWN
    has_more = end < len(bindings)
    return as_page(bindings[start:end], words="", after=after if start else "", has_more=has_more)
