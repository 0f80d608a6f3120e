"""Counts the stored messages, and finds the mentions among the newest messages of each room.

Each room is counted in a transaction of its own, under its lock, so that users can write meanwhile.
"""

import re
from bisect import bisect_right
from typing import Any, Final

from django.db import migrations, transaction
from django.db.models import Max

COUNT_LIMIT: Final = 1_000  # as many unread messages as are shown
BATCH_ROWS: Final = 500
CHIP: Final = re.compile(r'<span class="mention" data-handle="([^"]+)"')


def count_rooms(apps: Any, schema_editor: Any) -> None:
    alias = schema_editor.connection.alias
    rooms = apps.get_model("rooms", "Room").objects.using(alias).order_by("pk")
    last = None
    while True:
        after = rooms.filter(pk__gt=last) if last else rooms
        room_ids = list(after.values_list("pk", flat=True)[:BATCH_ROWS])
        for room_id in room_ids:
            with transaction.atomic(using=alias):
                for room in rooms.filter(pk=room_id).select_for_update():
                    count_room(apps, alias, room)
        if not room_ids:
            return
        last = room_ids[-1]


def count_room(apps: Any, alias: str, room: Any) -> None:
    messages = apps.get_model("rooms", "Message").objects.using(alias).filter(room=room)
    members = apps.get_model("rooms", "RoomMember").objects.using(alias).filter(room=room)
    room.message_count = messages.count()
    deleted = messages.filter(deleted_at__isnull=False)
    room.deleted_seq = deleted.aggregate(last=Max("seq"))["last"] or 0
    newest = list(messages.order_by("-seq").values_list("seq", "created_at")[: 2 * COUNT_LIMIT])
    room.last_message_at = newest[0][1] if newest else None
    room.save(update_fields=["message_count", "deleted_seq", "last_message_at"])
    seqs = [seq for seq, _ in reversed(newest)]
    counted = list(members.only("read_seq"))
    for member in counted:
        unread = len(seqs) - bisect_right(seqs, member.read_seq)
        member.read_count = room.message_count - unread
    members.model.objects.using(alias).bulk_update(counted, ["read_count"], batch_size=BATCH_ROWS)
    add_mentions(apps, alias, messages.filter(seq__gt=room.last_seq - COUNT_LIMIT), members)


def add_mentions(apps: Any, alias: str, messages: Any, members: Any) -> None:
    mention = apps.get_model("rooms", "Mention")
    said = messages.filter(html__contains='<span class="mention" data-handle=')
    users: dict[str, Any] = {}
    found = []
    for message in said.only("room_id", "user_id", "seq", "html").iterator(BATCH_ROWS):
        users = users or dict(members.values_list("user__handle", "user_id"))
        mentioned = {users.get(handle) for handle in CHIP.findall(message.html)}
        for user_id in mentioned - {None, message.user_id}:
            row = {"message_id": message.pk, "room_id": message.room_id, "seq": message.seq}
            found.append(mention(user_id=user_id, **row))
    mention.objects.using(alias).bulk_create(
        found, batch_size=BATCH_ROWS, ignore_conflicts=True  # this migration may be repeated
    )


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("rooms", "0007_unread_arithmetic")]

    operations = [migrations.RunPython(count_rooms, migrations.RunPython.noop, elidable=True)]
