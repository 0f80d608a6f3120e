"""Fills a PostgreSQL with a long history: copies of a message, its answer, their runs and events.

The rows are written by SQL, without services and triggers, so that ten million take minutes. The
columns are read from the database; only those that must differ between the copies are named here.
"""

from collections.abc import Mapping
from typing import Final

import psycopg

ROOMS: Final = 2_000
"""Rooms among which four fifths of the messages are spread; the first room has the last fifth."""

_FUNCTIONS: Final = """
    CREATE FUNCTION pg_temp.id_of(n bigint, kind int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex(1700000000000 + n * 20), 12, '0') || '7000800'
                || to_hex(kind) || lpad(to_hex(n), 12, '0'))::uuid
    $$
"""
# n counts the messages by time. Every fifth is in the first room, which has fewer than 100 already.
_PLACES: Final = """
    CREATE TEMP TABLE places AS
    SELECT n, CASE WHEN mod(n, 5) = 0 THEN 0 ELSE 1 + mod(n - n / 5, {rooms}) END AS place,
        CASE WHEN mod(n, 5) = 0 THEN n / 5 ELSE 1 + (n - n / 5) / {rooms} END + 100 AS seq,
        now() - ({rows} - n) * interval '0.5 s' AS at
    FROM generate_series(1, {rows}) AS n
"""
ID: Final = "pg_temp.id_of(n, {kind})"
ROOM: Final = "CASE WHEN place = 0 THEN source.room_id ELSE pg_temp.id_of(place, 1) END"
_MINE: Final = "generate_series(1, least({rooms}, 500)) AS place"
_STATE: Final = (
    "(ARRAY['completed', 'completed', 'completed', 'failed', 'cancelled'])[1 + mod(n / 4, 5)]"
)

_COPIES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "rooms_room": (
        "generate_series(1, {rooms}) AS place WHERE source.id = %(room)s",
        {"id": "pg_temp.id_of(place, 1)", "last_seq": "{rows} / {rooms} + 102"},
    ),
    "rooms_roommember": (
        f"{_MINE} WHERE source.room_id = %(room)s",
        {"id": "DEFAULT", "room_id": "pg_temp.id_of(place, 1)", "read_seq": "101"},
    ),
    "rooms_roompermission": (
        f"{_MINE} WHERE source.content_object_id = %(room)s",
        {"id": "DEFAULT", "content_object_id": "pg_temp.id_of(place, 1)"},
    ),
    "rooms_message": (
        "places WHERE source.id = %(answer)s",
        {
            "id": ID.format(kind=2),
            "room_id": ROOM,
            "seq": "places.seq",
            "created_at": "at",
            "client_id": "NULL",
            "reply_to_id": "CASE WHEN mod(n, 10) = 0 THEN pg_temp.id_of(n - 5, 2) END",
            "user_id": "CASE WHEN mod(n, 4) > 0 THEN %(user)s::uuid END",
            "text": "repeat('many words ', 1 + mod(n, 30)::int)",
            "html": "repeat('many words ', 1 + mod(n, 30)::int)",
        },
    ),
    "rooms_roomevent": (
        "places WHERE source.message = %(answer)s AND source.type = 'message.completed'",
        {
            "id": "DEFAULT",
            "room_id": ROOM,
            "seq": "places.seq",
            "created_at": "at",
            "message": "CASE WHEN mod(n, 2) = 0 THEN pg_temp.id_of(n, 2) END",
        },
    ),
    "rooms_run": (
        "places WHERE source.id = %(run)s AND mod(n, 4) = 0",
        {
            "id": ID.format(kind=3),
            "room_id": ROOM,
            "message_id": "pg_temp.id_of(n - 1, 2)",
            "answer_id": "pg_temp.id_of(n, 2)",
            "state": _STATE,
            "stopped_by_id": f"CASE WHEN {_STATE} = 'cancelled' THEN %(user)s::uuid END",
            "queued_at": "at",
            "started_at": "at",
            "ended_at": "at",
        },
    ),
    "accounts_auditentry": (
        "generate_series(1, {rows} / 10) AS n WHERE source.id = %(audited)s",
        {
            "id": "pg_temp.id_of(n, 4)",
            "number": "source.number + n",
            "action": "(ARRAY['room.created', 'room.renamed', 'member.added'])[1 + mod(n, 3)]",
            "created_at": "now() - ({rows} / 10 - n) * interval '1 s'",
        },
    ),
}


def fill(connection: psycopg.Connection, rows: int, rooms: int = ROOMS) -> None:
    """Add `rows` messages and events, a quarter of that runs, and a tenth of that audit entries.

    Copies the newest completed run of the database with its answer. `connection` is in autocommit
    mode. A fifth of the rows is in the room of that run, the rest in `rooms` new rooms. The members
    of that room are also in 500 of these.
    """
    connection.execute("SET session_replication_role = replica")  # disables triggers per row
    connection.execute(_FUNCTIONS)
    connection.execute(_PLACES.format(rows=rows, rooms=rooms).encode())
    found = connection.execute(
        "SELECT id, room_id, answer_id, requested_by_id, team_id FROM rooms_run "
        "WHERE state = 'completed' ORDER BY ended_at DESC LIMIT 1"
    ).fetchone()
    assert found is not None
    names = ("run", "room", "answer", "user", "team")
    parameters = dict(zip(names, found, strict=True))
    audited = "SELECT id FROM accounts_auditentry WHERE team_id = %s ORDER BY number DESC LIMIT 1"
    (parameters["audited"],) = connection.execute(audited, [found[4]]).fetchone() or (None,)
    for table, (copies, changed) in _COPIES.items():
        connection.execute(
            copying(connection, table, copies, changed)
            .replace("{rows}", str(rows))
            .replace("{rooms}", str(rooms))
            .encode(),
            parameters,
        )
    connection.execute(
        "UPDATE rooms_room SET last_seq = (SELECT max(seq) FROM rooms_roomevent e "
        "WHERE e.room_id = rooms_room.id) WHERE id = %(room)s",
        parameters,
    )
    connection.execute("VACUUM ANALYZE")


def copying(
    connection: psycopg.Connection, table: str, copies: str, changed: Mapping[str, str]
) -> str:
    """Return the INSERT that copies one row; it leaves out columns whose value is DEFAULT."""
    described = connection.execute(f"SELECT * FROM {table} LIMIT 0".encode()).description or []
    values = {
        column.name: changed.get(column.name, f"source.{column.name}") for column in described
    }
    given = {name: value for name, value in values.items() if value != "DEFAULT"}
    return (
        f"INSERT INTO {table} ({', '.join(given)}) SELECT {', '.join(given.values())} "
        f"FROM {table} AS source, {copies}"
    )
