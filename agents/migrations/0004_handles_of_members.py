"""Give members another handle if an earlier member has a handle with the same key.

0003 has stored a free key for such a member, which is not the key of the member's handle.
"""

from typing import Any

from django.db import migrations

from accounts.names import handle_key


def rename(apps: Any, schema_editor: Any) -> None:
    users = apps.get_model("accounts", "User").objects
    members = apps.get_model("accounts", "TeamMember").objects.select_related("user")
    handles = apps.get_model("accounts", "TeamHandle").objects
    stored = {(row.team_id, row.holder): row.handle for row in handles.all()}
    renamed = {
        member.user
        for member in members.order_by("pk")
        if stored.get((member.team_id, member.user_id)) != handle_key(member.user.handle)
    }
    for user in sorted(renamed, key=lambda user: user.pk):
        teams = members.filter(user=user).values("team")
        others = handles.filter(team__in=teams).exclude(holder=user.pk)
        taken = set(others.values_list("handle", flat=True))
        number = 2
        handle = f"{user.handle[:35]}-{number}"
        while handle_key(handle) in taken or users.filter(handle=handle).exists():
            number += 1
            handle = f"{user.handle[:35]}-{number}"
        users.filter(pk=user.pk).update(handle=handle)
        for team in members.filter(user=user).values_list("team", flat=True):
            values = {"handle": handle_key(handle)}
            handles.update_or_create(team_id=team, holder=user.pk, defaults=values)


class Migration(migrations.Migration):

    dependencies = [("agents", "0003_handles_of_teams")]

    operations = [migrations.RunPython(rename, migrations.RunPython.noop)]
