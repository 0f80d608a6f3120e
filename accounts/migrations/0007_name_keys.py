"""Fill `name_key` of the members that exist, in batches, each in a transaction of its own."""

from typing import Any, Final

from django.db import migrations

from accounts.names import search_key

BATCH: Final = 1_000


def fill(apps: Any, schema_editor: Any) -> None:
    members = apps.get_model("accounts", "TeamMember").objects
    empty = members.filter(name_key="").select_related("user").order_by("pk")
    last = 0
    while batch := list(empty.filter(pk__gt=last)[:BATCH]):
        for member in batch:
            member.name_key = search_key(member.user.name)
        members.bulk_update(batch, ["name_key"])
        last = batch[-1].pk


class Migration(migrations.Migration):

    atomic = False

    dependencies = [("accounts", "0006_search_members")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
