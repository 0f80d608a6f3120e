"""The rooms that a persona could join, for the page of the persona, which is in another app."""

from django import template

from accounts.models import User
from agents.models import Persona
from rooms import services
from rooms.models import Room

register = template.Library()

OFFERED = 20


@register.simple_tag
def rooms_for_newcomer(user: User, persona: Persona) -> list[Room]:
    """Return rooms that `user` may add the persona to; none if it is in a room already."""
    if persona.bindings.exists():
        return []
    return list(services.rooms_to_join(user, persona)[:OFFERED])
