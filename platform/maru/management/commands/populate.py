"""Creates users, rooms and personas, for scripts and load tests."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts.errors import Invalid
from accounts.models import Team, TeamRole, User
from accounts.names import MAX_NAME_LENGTH
from accounts.services import create_team, create_token
from accounts.services.handles import take_handle
from accounts.services.teams import add_team_member
from agents.models import Connection, Persona
from agents.services import (
    check_base_url,
    create_connection,
    create_demo_persona,
    create_persona,
)
from maru.config import database
from maru.management.command_errors import refusals_as_command_errors
from rooms.models import RoomRole
from rooms.services import add_members, create_room

NAMES = ("Minjae", "Hayun", "Jiwoo", "Seojun", "Daeun", "Elena", "Noah", "Yuna", "Theo", "Sora")


class Command(BaseCommand):
    help = "Create a team of private rooms with members and personas; write ids and tokens."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rooms", type=int, required=True, metavar="R")
        parser.add_argument("--members", type=int, required=True, metavar="M")
        parser.add_argument("--personas", type=int, default=1, metavar="P")
        parser.add_argument("--provider", metavar="URL", help="an OpenAI-compatible provider")
        parser.add_argument("--model", action="append", default=[], metavar="NAME")
        parser.add_argument("--out", type=Path, required=True, metavar="FILE")
        parser.add_argument(
            "--force", action="store_true", help="continue even if the database contains teams"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if min(options["rooms"], options["members"]) < 1 or options["personas"] < 0:
            raise CommandError("--rooms and --members must be at least 1, --personas at least 0.")
        if bool(options["provider"]) != bool(options["model"]):
            raise CommandError("--provider and --model go together.")
        if options["provider"]:
            _check_provider(options["provider"])
        database.prepare()
        if Team.objects.exists() and not options["force"]:
            raise CommandError("This database holds other teams. Add --force to continue.")
        with refusals_as_command_errors(), transaction.atomic():
            made = _populate(options)
        options["out"].write_text(json.dumps(made, indent=1), encoding="utf-8")
        self.stdout.write(f"{options['rooms']} rooms of {options['members']} members each.")


def _check_provider(url: str) -> None:
    try:
        check_base_url(kind="openai", base_url=url)
    except Invalid as refused:
        hint = "MARU_EGRESS_ALLOW names the private addresses that are allowed, as host:port."
        raise CommandError(f"--provider: {refused.detail} {hint}") from refused


def _populate(options: dict[str, Any]) -> dict[str, Any]:
    """Create everything; each user is a member of exactly one room."""
    mark = uuid4().hex[:8]
    people = [
        [_make_user(mark, room, index) for index in range(options["members"])]
        for room in range(options["rooms"])
    ]
    owner = people[0][0]
    team = create_team(user=owner, name=f"Team {mark}")
    for person in (person for room in people for person in room if person != owner):
        add_team_member(team, person, TeamRole.MEMBER)
    personas = _personas(owner, team, options)
    return {
        "team": str(team.pk),
        "rooms": [
            _make_room(team, members, number, personas) for number, members in enumerate(people)
        ],
    }


def _make_user(mark: str, room: int, index: int) -> User:
    number = room * 10_000 + index
    user = User(
        email=f"{mark}-{number}@example.invalid",
        name=NAMES[number % len(NAMES)],
        handle=f"{mark}-{number}",
    )
    user.set_unusable_password()
    user.save(force_insert=True)
    return user


def _personas(owner: User, team: Team, options: dict[str, Any]) -> list[Persona]:
    """Return the personas that are bound to every room."""
    if not options["provider"]:
        return [
            create_demo_persona(user=owner, team_id=team.pk) for _ in range(options["personas"])
        ]
    connection = create_connection(
        user=owner,
        team_id=team.pk,
        name="Provider",
        kind="openai",
        base_url=options["provider"],
        key="populate",
        models=options["model"],
    )
    return [_persona_of(owner, team, connection, model) for model in options["model"]]


def _persona_of(owner: User, team: Team, connection: Connection, model: str) -> Persona:
    persona = create_persona(
        user=owner,
        team_id=team.pk,
        name=model[:MAX_NAME_LENGTH],
        role="Answers in load tests",
        goal="Answer what is asked.",
        connection=connection.pk,
        model=model,
    )
    # Scripts look up a persona by the name of its model, which may not be a valid handle.
    persona.handle = model[:MAX_NAME_LENGTH]
    take_handle(team.pk, persona.pk, persona.handle)
    persona.save(update_fields=["handle"])
    return persona


def _make_room(
    team: Team, people: list[User], number: int, personas: list[Persona]
) -> dict[str, Any]:
    room = create_room(
        user=people[0],
        team_id=team.pk,
        name=f"room-{number + 1}",
        personas=[persona.pk for persona in personas],
    )
    add_members(room, people[1:], RoomRole.MEMBER)
    return {"id": str(room.pk), "members": [_ids(person) for person in people]}


def _ids(person: User) -> dict[str, str]:
    _token, secret = create_token(user=person, name="populate", scopes=["admin"])
    return {"user": str(person.pk), "token": secret}
