"""The cost of joining a room with a long history, compared with a small room."""

from statistics import median
from typing import Final

import psycopg

from tests.bench.fanout.json_process import JsonProcess
from tests.bench.fanout.servers import MaruServer
from tests.bench.fanout.storms import connect, join_all, member_sockets
from tests.bench.report.figures import Figure
from tests.live import PopulatedRoom

MESSAGES: Final = 200_000
FEW: Final = 60
JOINS: Final = 20
JOIN: Final = f"W6 join of a room with {MESSAGES:,} messages, p50"
NOTE: Final = (
    "from sending room.join with `after: null` to the whole snapshot at the socket, each after a "
    "new message, so that the server must read the room."
)

# The columns that differ between the copies of a message and of its event.
_NEW_VALUES: Final = {
    "rooms_message": {"id": "gen_random_uuid()", "client_id": "NULL", "seq": "source.seq + n"},
    "rooms_roomevent": {
        "id": "nextval(pg_get_serial_sequence('rooms_roomevent', 'id'))",
        "seq": "source.seq + n",
    },
}


def measure(maru: MaruServer, client: JsonProcess, rounds: int) -> list[Figure]:
    """Join a small room and a room with a long history in turn, each time after a new message."""
    rooms = maru.installation.populate(2, 5)
    for room, messages in zip(rooms, (FEW, MESSAGES), strict=True):
        _post(maru, room)
        copy_last_message(maru.installation.env["MARU_DATABASE_URL"], room.id, messages)
    took: list[list[float]] = [[], []]
    for _round in range(rounds):
        for room, medians in zip(rooms, took, strict=True):
            connect(maru, client, member_sockets([room], 1), 1)
            samples = []
            for _join in range(JOINS):
                _post(maru, room)
                samples.append(join_all(maru, client, [room]).seconds * 1000)
            medians.append(median(samples))
            client.request("close")
    few, many = (
        maru.source.request("queries", room=room.id, user=room.members[0].user) for room in rooms
    )
    small = f"W6 join of a room with {FEW} messages, p50"
    return [
        Figure(JOIN, median(took[1]), "ms", 20, tuple(took[1]), NOTE),
        Figure(small, median(took[0]), "ms", None, tuple(took[0])),
        Figure("W6 additional queries in the large room", many - few, "", 0),
        Figure("W6 queries of a join that shares no read", many, ""),
    ]


def _post(maru: MaruServer, room: PopulatedRoom) -> None:
    maru.source.request("post", room=room.id, owner=room.members[0].user)


def copy_last_message(database: str, room: str, count: int) -> None:
    """Copy the last message of a room and its event `count` times by SQL, without publishing."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # disables triggers per row
        for table in _NEW_VALUES:
            _copy_last_row(connection, table, room, count)
        connection.execute(
            "UPDATE rooms_room SET last_seq = last_seq + %s WHERE id = %s", [count, room]
        )
        connection.execute("ANALYZE rooms_message, rooms_roomevent")


def _copy_last_row(connection: psycopg.Connection, table: str, room: str, count: int) -> None:
    """Copy the last row of a room; the column names are read from the database."""
    described = connection.execute(f"SELECT * FROM {table} LIMIT 0").description or []
    names = [column.name for column in described]
    values = [_NEW_VALUES[table].get(name, f"source.{name}") for name in names]
    query = (
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)} "
        f"FROM {table} AS source, generate_series(1, %s) AS n WHERE source.room_id = %s "
        f"AND source.seq = (SELECT max(seq) FROM {table} WHERE room_id = %s)"
    )
    connection.execute(query.encode(), [count, room, room])
