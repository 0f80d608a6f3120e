import re
from uuid import UUID

from django.db import migrations

BATCH = 1_000
READS = [UUID(f"70010000-0000-7000-8000-00000000000{number}") for number in (3, 4)]
"""The tools `search_room` and `read_message`. Their results have the id of each message."""
ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def store_quotes(apps, schema_editor):
    """Store which messages the results quote that are stored already; can be repeated."""
    ToolCall, Message, Quote = (
        apps.get_model("rooms", name) for name in ("ToolCall", "Message", "Quote")
    )
    calls = ToolCall.objects.order_by("pk").values_list("pk", "run__room", "result")
    remaining = calls.filter(tool__in=READS).exclude(result="")
    while batch := list(remaining[:BATCH]):
        named = {pk: {UUID(each) for each in ID.findall(result)} for pk, _room, result in batch}
        found = Message.objects.filter(pk__in=set().union(*named.values()))
        rooms = dict(found.values_list("pk", "room"))
        quotes = [
            Quote(call_id=pk, message_id=message)
            for pk, room, _result in batch
            for message in named[pk]
            if rooms.get(message) == room
        ]
        Quote.objects.bulk_create(quotes, ignore_conflicts=True)
        remaining = calls.filter(tool__in=READS, pk__gt=batch[-1][0]).exclude(result="")


class Migration(migrations.Migration):
    atomic = False  # each batch is a transaction of its own

    dependencies = [
        ("rooms", "0033_quotes"),
    ]

    operations = [
        migrations.RunPython(store_quotes, migrations.RunPython.noop),
    ]
