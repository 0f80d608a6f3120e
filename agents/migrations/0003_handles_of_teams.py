"""Fill the table of handles. A persona that has the handle of a member gets another handle."""

from typing import Any

from django.db import migrations

from accounts.names import handle_key


def fill(apps: Any, schema_editor: Any) -> None:
    team_handles = apps.get_model("accounts", "TeamHandle").objects
    members = apps.get_model("accounts", "TeamMember").objects.select_related("user")
    personas = apps.get_model("agents", "Persona").objects
    taken: set[tuple[Any, str]] = set()

    def take(team: Any, holder: Any, handle: str) -> str:
        """Store the first free handle: `handle`, or `handle` with a number; return it."""
        free, number = handle, 2
        while (team, handle_key(free)) in taken:
            free, number = f"{handle[:35]}-{number}", number + 1
        taken.add((team, handle_key(free)))
        team_handles.create(team_id=team, holder=holder, handle=handle_key(free))
        return free

    for member in members.order_by("pk").iterator():
        take(member.team_id, member.user_id, member.user.handle)
    conflicting = []
    for persona in personas.order_by("created_at", "pk").iterator():
        if (persona.team_id, handle_key(persona.handle)) in taken:
            conflicting.append(persona)
        else:
            take(persona.team_id, persona.pk, persona.handle)
    for persona in conflicting:  # last: their new handles must not be those of other personas
        handle = take(persona.team_id, persona.pk, persona.handle)
        personas.filter(pk=persona.pk).update(handle=handle)


def empty(apps: Any, schema_editor: Any) -> None:
    apps.get_model("accounts", "TeamHandle").objects.all().delete()


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0005_team_handles"),
        ("agents", "0002_plain_labels"),
    ]

    operations = [migrations.RunPython(fill, empty)]
