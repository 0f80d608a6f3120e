"""The template context of a room's settings page."""

from typing import Any, Final

from django.db.models import Case, Exists, OuterRef, QuerySet, Value, When
from django.db.models.functions import Concat, Lower
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import TeamMember, User
from accounts.services.people import matching_members
from accounts.views.finder import finder
from accounts.views.lists import ListPage, list_page, typed_words
from rooms.models import Room, RoomMember, RoomPersona, RoomRole
from rooms.pages.finders import people_outside, personas_outside, successors
from rooms.pages.forms import RoomSettingsForm
from rooms.pages.sidebar import shell_context

MEMBERS_SHOWN: Final = 25
PERSONAS_SHOWN: Final = 15


def settings_context(
    request: HttpRequest, user: User, room: Room, form: RoomSettingsForm
) -> dict[str, Any]:
    """Return the context. `?q=` and `?after=` choose the members, `?personas=` the personas.

    A form that was sent to find people or personas keeps what was ticked in it.
    """
    members, bindings = _members(request, room), _bindings(request, room)
    form.offer(_bound(room, bindings))
    sent = request.POST

    def found(name: str, candidates: Any, view: str, **options: bool) -> Any:
        return finder(candidates, name, reverse(view, args=[room.pk]), sent, **options)

    return {
        **shell_context(user, room.team, room),
        "room": room,
        "form": form,
        "members": members,
        "roles": [(role.value, role.label) for role in RoomRole],
        "bindings": bindings,
        "people_finder": found("person", people_outside(room), "rooms:find_people"),
        "persona_finder": found("persona", personas_outside(user, room), "rooms:find_personas"),
        "successor_finder": found(
            "successor", successors(user, room), "rooms:find_members", single=True, offers=False
        ),
    }


def _members(request: HttpRequest, room: Room) -> ListPage[RoomMember]:
    """Return a page of members, from owners to readers and by name in each role."""
    words, after = typed_words(request.GET.get("q", "")), request.GET.get("after", "")
    members: QuerySet[Any] = room.members.active().select_related("user")
    if words:
        team = TeamMember.objects.filter(team=room.team_id)
        members = members.filter(
            user__in=matching_members(team, room.team_id, words).values("user")
        )
    roles = [When(role=role, then=Value(str(rank))) for rank, role in enumerate(RoomRole.values)]
    owners = RoomMember.objects.active().filter(room=room, role=RoomRole.OWNER)
    in_order = members.annotate(
        place=Concat(Case(*roles), Lower("user__name")),
        has_other_owner=Exists(owners.exclude(pk=OuterRef("pk"))),
    )
    return list_page(in_order, words=words, after=after, by="place", size=MEMBERS_SHOWN)


def _bindings(request: HttpRequest, room: Room) -> ListPage[RoomPersona]:
    """Return a page of the bound personas, the one that was bound first at the start."""
    bindings = room.bindings.select_related("persona")
    after = request.GET.get("personas", "")
    return list_page(bindings, after=after, by="pk", size=PERSONAS_SHOWN)


def _bound(room: Room, bindings: ListPage[RoomPersona]) -> list[tuple[Any, str]]:
    """Return the id and the name of all bound personas; most pages have them already."""
    if not bindings.is_part:
        return [(each.persona_id, each.persona.name) for each in bindings.rows]
    return list(room.bindings.values_list("persona", "persona__name"))
