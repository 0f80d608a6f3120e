"""Creates the team of the screenshot: users, personas and rooms, by the product's own services.

`python -m tests.e2e.demo_team PROVIDER OUT`, in the environment of an installation, writes the
address of the room and the session keys of the two users who talk in it.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import django

from tests.e2e.sessions import session_of

if TYPE_CHECKING:
    from uuid import UUID

    from accounts.models import Team, User

PEOPLE = ("Seojun Lee", "Hayun Kim", "Jiwoo Park", "Minjae Choi", "Elena Rossi", "Daeun Jung")
PERSONAS = (
    ("Garam", "Research", "noerok", "gyeoksal", "sample-interviews"),
    ("Byeori", "Code review", "chija", "wanja", "sample-review"),
    ("Onsae", "Data", "jaju", "bitsal", "echo"),
    ("Daon", "Editor", "seokganju", "kkotsal", "echo"),
)
TOPIC = "Mobile completion from 58% to 66% by 5 December"
OTHER_ROOMS = {
    "courtyard": (),
    "design-review": ("The two drafts are up.", "@seojun-lee pick one of the two, please"),
    "on-call": ("The queue is empty again.", "Retry policy is summarised.", "Good night."),
    "weekly": (),
    "interviews": ("Interview 12 is written down.",),
}


def main(provider: str, out: str) -> None:
    """Create the team, its rooms and messages, and write the sessions to `out`."""
    django.setup()
    from rooms.services import create_room

    team, people = _team()
    owner, friend = people[:2]
    personas = _personas(owner, team, provider)
    room = create_room(user=owner, team_id=team.pk, name="checkout", topic=TOPIC, personas=personas)
    _add_to_room(owner, room.pk, people[1:])
    for name, lines in OTHER_ROOMS.items():
        other = create_room(user=owner, team_id=team.pk, name=name)
        _add_to_room(owner, other.pk, [friend])
        _say(friend, other.pk, lines)
    sessions = [session_of(str(person.pk)) for person in (owner, friend)]
    Path(out).write_text(json.dumps({"room": str(room.pk), "sessions": sessions}))


def _team() -> "tuple[Team, list[User]]":
    from accounts.models import TeamRole, Wood
    from accounts.services import create_team, create_user, update_profile
    from accounts.services.teams import add_team_member

    people = []
    for number, name in enumerate(PEOPLE):
        person = create_user(name=name, email=f"{number}@example.com", verified=True)
        people.append(update_profile(user=person, wood=Wood.values[number % len(Wood.values)]))
    team = create_team(user=people[0], name="Hangyeol Commerce")
    for person in people[1:]:
        add_team_member(team, person, TeamRole.MEMBER)
    return team, people


def _personas(owner: "User", team: "Team", provider: str) -> "list[UUID]":
    from agents.services import create_connection, create_persona

    connection = create_connection(
        user=owner,
        team_id=team.pk,
        name="Provider",
        kind="openai",
        base_url=provider,
        key="for-the-picture",
        models=[model for *_look, model in PERSONAS],
    )
    return [
        create_persona(
            user=owner,
            team_id=team.pk,
            name=name,
            role=role,
            goal="Answer what is asked.",
            connection=connection.pk,
            model=model,
            pigment=pigment,
            lattice=lattice,
        ).pk
        for name, role, pigment, lattice, model in PERSONAS
    ]


def _add_to_room(owner: "User", room: "UUID", people: "list[User]") -> None:
    from rooms.services import put_member

    for person in people:
        put_member(user=owner, room_id=room, member_id=person.pk, role="member")


def _say(person: "User", room: "UUID", lines: tuple[str, ...]) -> None:
    from rooms.services import post_message

    for line in lines:
        post_message(user=person, room_id=room, text=line, personas=[])


if __name__ == "__main__":
    main(*sys.argv[1:])
