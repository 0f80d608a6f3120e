"""Joining a room in which a million messages were said: it must cost what any room costs."""

from contextlib import ExitStack
from statistics import median
from typing import Final

import psycopg

from tests.bench.fanout.line_process import Helper
from tests.bench.fanout.servers import Maru, bearer
from tests.bench.report.figures import Figure
from tests.bench.resources import Stage
from tests.cluster.harness.services import missing

MESSAGES: Final = 1_000_000
FEW: Final = 60
JOINS: Final = 40
ROUNDS: Final = 3
JOIN: Final = "W6 join of a room with 1,000,000 messages, p50"
NOTE: Final = (
    "from sending room.join, without a position, to the whole snapshot at the socket: the server's "
    "time and a little more."
)

# What is not the same in each copy of a message and of its event.
_FRESH: Final = {
    "rooms_message": {"id": "gen_random_uuid()", "client_id": "NULL", "seq": "said.seq + n"},
    "rooms_roomevent": {
        "id": "nextval(pg_get_serial_sequence('rooms_roomevent', 'id'))",
        "seq": "said.seq + n",
    },
}


def measure(stage: Stage) -> list[Figure]:
    """Join a small room and a huge one, in turn."""
    if absent := missing():
        return [Figure(JOIN, None, "ms", 20, note=f"not installed: {', '.join(absent)}")]
    with ExitStack() as stack:
        installation = stage.production("joining")
        maru = Maru(stage.folder, stack, installation)
        maru.rooms = installation.populate(2, 5)
        for room, messages in zip(maru.rooms, (FEW, MESSAGES), strict=True):
            maru.source.ask("say", room=room.id, owner=room.members[0].user)
            fill(installation.env["MARU_DATABASE_URL"], room.id, messages)
        clients = []
        for room in maru.rooms:
            client = stack.enter_context(
                Helper("tests.bench.fanout.load_client", log=stage.folder / "client.log")
            )
            seat = {"room": 0, "headers": bearer(room.members[0].token)}
            fields = {"path": maru.path, "sockets": [seat], "at_once": 1, "seconds": 30}
            client.ask("connect", port=maru.port, **fields)
            clients.append(client)
        return _figures(maru, clients)


def _figures(maru: Maru, clients: list[Helper]) -> list[Figure]:
    took: list[list[float]] = [[], []]
    for _round in range(ROUNDS):
        for client, room, rounds in zip(clients, maru.rooms, took, strict=True):
            wanted = [{"room": room.id, "after": None}]
            samples = [client.ask("join", rooms=wanted)["took"][0] for _ in range(JOINS)]
            rounds.append(median(samples))
    few, many = (
        maru.source.ask("queries", room=room.id, user=room.members[0].user) for room in maru.rooms
    )
    return [
        Figure(JOIN, median(took[1]), "ms", 20, tuple(took[1]), NOTE),
        Figure(
            f"W6 join of a room with {FEW} messages, p50",
            median(took[0]),
            "ms",
            None,
            tuple(took[0]),
        ),
        Figure("W6 queries more than in a small room", many - few, "", 0),
        Figure("W6 queries of a join", many, ""),
    ]


def fill(database: str, room: str, count: int) -> None:
    """Say the last message of a room so many times more, without anybody noticing."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # no trigger a row
        for table in _FRESH:
            _copy(connection, table, room, count)
        connection.execute(
            "UPDATE rooms_room SET last_seq = last_seq + %s WHERE id = %s", [count, room]
        )
        connection.execute("ANALYZE rooms_message, rooms_roomevent")


def _copy(connection: psycopg.Connection, table: str, room: str, count: int) -> None:
    """Copy the last row of a room in a table; whatever columns that has."""
    described = connection.execute(f"SELECT * FROM {table} LIMIT 0").description or []
    names = [column.name for column in described]
    values = [_FRESH[table].get(name, f"said.{name}") for name in names]
    query = (
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)} "
        f"FROM {table} AS said, generate_series(1, %s) AS n WHERE said.room_id = %s "
        f"AND said.seq = (SELECT max(seq) FROM {table} WHERE room_id = %s)"
    )
    connection.execute(query.encode(), [count, room, room])
