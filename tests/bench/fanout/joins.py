"""The cost of joining a room with a million messages, compared with a small room."""

from contextlib import ExitStack
from statistics import median
from typing import Final

import psycopg

from tests.bench.fanout.json_process import JsonProcess
from tests.bench.fanout.servers import MaruServer, bearer_headers
from tests.bench.report.figures import Figure
from tests.bench.resources import Resources
from tests.cluster.harness.services import missing_packages

MESSAGES: Final = 1_000_000
FEW: Final = 60
JOINS: Final = 40
ROUNDS: Final = 3
JOIN: Final = "W6 join of a room with 1,000,000 messages, p50"
NOTE: Final = (
    "from sending room.join with `after: null` to the whole snapshot at the socket: the time of "
    "the server plus a small constant."
)

# The columns that differ between the copies of a message and of its event.
_NEW_VALUES: Final = {
    "rooms_message": {"id": "gen_random_uuid()", "client_id": "NULL", "seq": "source.seq + n"},
    "rooms_roomevent": {
        "id": "nextval(pg_get_serial_sequence('rooms_roomevent', 'id'))",
        "seq": "source.seq + n",
    },
}


def measure(resources: Resources) -> list[Figure]:
    """Join a small room and a huge room in turn."""
    if absent := missing_packages():
        return [Figure(JOIN, None, "ms", 20, note=f"not installed: {', '.join(absent)}")]
    with ExitStack() as stack:
        installation = resources.production("joins")
        maru = MaruServer(resources.folder, stack, installation)
        maru.rooms = installation.populate(2, 5)
        for room, messages in zip(maru.rooms, (FEW, MESSAGES), strict=True):
            maru.source.request("post", room=room.id, owner=room.members[0].user)
            copy_last_message(installation.env["MARU_DATABASE_URL"], room.id, messages)
        clients = []
        for room in maru.rooms:
            client = stack.enter_context(
                JsonProcess("tests.bench.fanout.load_client", log=resources.folder / "client.log")
            )
            socket = {"room": 0, "headers": bearer_headers(room.members[0].token)}
            fields = {"path": maru.path, "sockets": [socket], "concurrency": 1, "seconds": 30}
            client.request("connect", port=maru.port, **fields)
            clients.append(client)
        return _figures(maru, clients)


def _figures(maru: MaruServer, clients: list[JsonProcess]) -> list[Figure]:
    took: list[list[float]] = [[], []]
    for _round in range(ROUNDS):
        for client, room, rounds in zip(clients, maru.rooms, took, strict=True):
            join = [{"room": room.id, "after": None}]
            samples = [client.request("join", rooms=join)["took"][0] for _ in range(JOINS)]
            rounds.append(median(samples))
    few, many = (
        maru.source.request("queries", room=room.id, user=room.members[0].user)
        for room in maru.rooms
    )
    small = f"W6 join of a room with {FEW} messages, p50"
    return [
        Figure(JOIN, median(took[1]), "ms", 20, tuple(took[1]), NOTE),
        Figure(small, median(took[0]), "ms", None, tuple(took[0])),
        Figure("W6 additional queries in the large room", many - few, "", 0),
        Figure("W6 queries of a join", many, ""),
    ]


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
