from uuid import UUID

from django.db import migrations

FETCH_PAGE = UUID("70010000-0000-7000-8000-000000000005")


def ask_first(apps, schema_editor):
    """Let personas ask before they use a tool that connects to any address of the internet.

    Editors could choose `always` for these tools, and no row says who has chosen it. A team admin
    may choose it again.
    """
    tools = apps.get_model("agents", "Tool").objects.filter(
        server=None, reach="internet", changes=False
    )
    ids = [FETCH_PAGE, *tools.values_list("pk", flat=True)]
    policies = apps.get_model("agents", "PersonaTool").objects
    policies.filter(tool__in=ids, policy="always").update(policy="ask")


class Migration(migrations.Migration):

    dependencies = [
        ("agents", "0007_ended_sign_ins"),
    ]

    operations = [
        migrations.RunPython(ask_first, migrations.RunPython.noop),
    ]
