"""Adds to a long history what personas that act leave: calls, prompts, questions, waiting runs.

Each ended run gets a request to the model, two calls and a prompt. Two of 400 messages get a run
that waits: for a decision, or for the answer to a question. Half of them are in the first room.
"""

from typing import Final

import psycopg

from tests.cluster.harness.long_history import ID, ROOM, ROOMS, copying

_ENDED: Final = "mod(n, 4) = 0"
_WAITS: Final = "mod(n, 400) IN (2, 10)"
_ASKS: Final = "mod(n, 800) IN (2, 10)"
_ANSWERED: Final = "mod(n, 20) = 0"
_IS_QUESTION: Final = "mod(n, 800) IN (402, 410)"
_DECIDED: Final = "turn = 0 AND mod(n, 8) = 0"
_RUN: Final = ID.format(kind=3)
_CALL: Final = "pg_temp.id_of(n * 2 + {turn}, 5)"
_TURNS: Final = "places, generate_series(0, 1) AS turn"
_VERSIONS: Final = "generate_series(0, {rooms}) AS place, generate_series(1, 10) AS version"
_TOMORROW: Final = "now() + interval '1 day'"

_COPIES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "rooms_run": (
        f"places WHERE source.id = %(run)s AND {_WAITS}",
        {
            "id": _RUN,
            "room_id": ROOM,
            "message_id": "pg_temp.id_of(n - 1, 2)",
            "answer_id": ID.format(kind=2),
            "queued_at": "at",
        },
    ),
    "rooms_modelrequest": (
        f"places WHERE source.run_id = %(run)s AND ({_ENDED} OR {_WAITS})",
        {"id": "DEFAULT", "run_id": _RUN, "created_at": "at"},
    ),
    "rooms_toolcall": (
        f"{_TURNS} WHERE source.id = %(call)s AND ({_ENDED} OR {_WAITS})",
        {
            "id": _CALL.format(turn="turn"),
            "run_id": _RUN,
            "position": "turn",
            "tool": "CASE WHEN turn = 1 THEN %(search)s::uuid ELSE source.tool END",
            "state": f"CASE WHEN {_ENDED} OR turn = 1 THEN 'done' "
            f"WHEN {_ASKS} THEN 'asked' ELSE 'running' END",
            "expires_at": f"CASE WHEN {_DECIDED} THEN at + interval '1 day' "
            f"WHEN turn = 0 AND {_ASKS} THEN {_TOMORROW} END",
            "decided_at": f"CASE WHEN {_DECIDED} THEN at END",
            "decided_by_id": f"CASE WHEN {_DECIDED} THEN %(user)s::uuid END",
            "result": "CASE WHEN turn = 1 THEN 'message ' || pg_temp.id_of(n - 5, 2) "
            "|| repeat(' and what it says', 60) ELSE 'It is done.' END",
            "created_at": "at",
        },
    ),
    "rooms_quote": (
        "places WHERE source.call_id = %(quote)s AND mod(n, 16) = 0",
        {
            "call_id": _CALL.format(turn=1),
            "message_id": "pg_temp.id_of(n - 5, 2)",
        },
    ),
    "rooms_runprompt": (  # one of 500 is older than 30 days
        f"places WHERE source.run_id = %(run)s AND {_ENDED}",
        {
            "id": "DEFAULT",
            "run_id": _RUN,
            "created_at": "at - interval '30 days' + {rows} * interval '0.499 s'",
        },
    ),
    "rooms_steer": (
        "places WHERE source.id = %(steer)s AND mod(n, 40) = 0",
        {"id": ID.format(kind=6), "run_id": _RUN, "state": "'applied'", "created_at": "at"},
    ),
    "rooms_question": (
        f"places WHERE source.call_id = %(question)s AND ({_ANSWERED} OR {_IS_QUESTION})",
        {
            "call_id": _CALL.format(turn=0),
            "room_id": ROOM,
            "state": f"CASE WHEN {_ANSWERED} THEN 'answered' ELSE 'open' END",
            "expires_at": _TOMORROW,
            "created_at": "at",
        },
    ),
    "rooms_questionanswer": (
        f"places WHERE source.question_id = %(question)s AND {_ANSWERED}",
        {"id": "DEFAULT", "question_id": _CALL.format(turn=0), "created_at": "at"},
    ),
    "rooms_roomsummary": (
        f"{_VERSIONS} WHERE source.id = %(summary)s",
        {
            "id": "pg_temp.id_of(place * 16 + version, 7)",
            "room_id": ROOM,
            "up_to_seq": "version * 5",
            "state": "CASE WHEN mod(version, 3) = 0 THEN 'dropped' ELSE 'written' END",
            "created_at": "now() - (10 - version) * interval '10 days'",
        },
    ),
    "rooms_round": (
        "places WHERE source.id = %(round)s AND mod(n, 400) IN (0, 2)",
        {
            "id": ID.format(kind=8),
            "room_id": ROOM,
            "message_id": "pg_temp.id_of(n - 1, 2)",
            "state": "CASE WHEN mod(n, 400) = 0 THEN 'completed' ELSE 'running' END",
            "created_at": "at",
        },
    ),
}
_LINKS: Final = (
    ("round_id", ID.format(kind=8), "mod(n, 400) IN (0, 2)"),
    ("parent_call_id", "pg_temp.id_of((n - 4) * 2, 5)", "mod(n, 400) = 8"),
)
"""What some runs get: a round of which they are a step, and the call that has asked for them."""
_SOURCES: Final = {
    "run": "SELECT run_id FROM rooms_toolcall WHERE state = 'asked'",
    "call": "SELECT id FROM rooms_toolcall WHERE state = 'asked'",
    "user": "SELECT requested_by_id FROM rooms_run WHERE state = 'waiting'",
    "quote": "SELECT call_id FROM rooms_quote",
    "steer": "SELECT id FROM rooms_steer",
    "question": "SELECT call_id FROM rooms_question",
    "summary": "SELECT id FROM rooms_roomsummary",
    "round": "SELECT id FROM rooms_round",
}


def fill(connection: psycopg.Connection, search: str, rows: int, rooms: int = ROOMS) -> None:
    """Add the rows of acting personas, after `long_history.fill` with the same connection.

    Copies the only row of each table; the runs are copies of one that waits for a decision.
    `search` is the id of the tool that reads the room.
    """
    parameters: dict[str, object] = {"search": search}
    for name, source in _SOURCES.items():
        (parameters[name],) = connection.execute(source.encode()).fetchone() or (None,)
    for table, (copies, changed) in _COPIES.items():
        statement = copying(connection, table, copies, changed)
        statement = statement.replace("{rows}", str(rows)).replace("{rooms}", str(rooms))
        connection.execute(statement.encode(), parameters)
    for column, value, chosen in _LINKS:
        link = f"UPDATE rooms_run SET {column} = {value} FROM places WHERE rooms_run.id = {_RUN}"
        connection.execute(f"{link} AND {chosen}".encode())
    connection.execute("VACUUM ANALYZE")
