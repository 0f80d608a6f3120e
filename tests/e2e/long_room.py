"""Writes many messages into a room of an embedded installation, without services."""

import sqlite3
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from tests.live import Installation, PopulatedRoom

FIRST_DAY = datetime(2025, 1, 1, 3, tzinfo=UTC)
COLUMNS = (
    "id, room_id, seq, user_id, author_kind, author_name, author_handle, text, html, status, "
    "created_at, reactions"
)


def fill(installation: Installation, room: PopulatedRoom, count: int, *, unread: int = 0) -> None:
    """Add `count` messages of the room's second member, one each hour from FIRST_DAY.

    The first member has read all but the last `unread`.
    """
    reader, author = (UUID(member.user).hex for member in room.members[:2])
    here = UUID(room.id).hex
    with sqlite3.connect(installation.folder / "var" / "maru.sqlite3", timeout=60) as base:
        (seq,) = base.execute("SELECT last_seq FROM rooms_room WHERE id = ?", [here]).fetchone()
        rows = (
            (
                *(uuid4().hex, here, seq + n, author, "user", "Friend", "friend"),
                *(f"Message {n}", f"<p>Message {n}</p>", "complete"),
                *(f"{FIRST_DAY + timedelta(hours=n):%Y-%m-%d %H:%M:%S.%f}", "{}"),
            )
            for n in range(1, count + 1)
        )
        marks = ", ".join("?" * 12)
        base.executemany(f"INSERT INTO rooms_message ({COLUMNS}) VALUES ({marks})", rows)
        base.execute(
            "UPDATE rooms_room SET last_seq = last_seq + ?, message_count = ? WHERE id = ?",
            [count, count, here],
        )
        base.execute(
            "UPDATE rooms_roommember SET read_seq = ?, read_count = ? "
            "WHERE room_id = ? AND user_id = ?",
            [seq + count - unread, count - unread, here, reader],
        )
