"""What the database says of rooms when all is over: the truth that everything else is held against.

Read beside Maru, by plain SQL: none of the product's own code may speak for it. And the steps of
runs are written down by a trigger of ours, as they are made.
"""

import json
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from tests.cluster.harness.services import Postgres
from tests.live import Frame

ENDED = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class RunRow:
    """A run, with what was asked and what was answered."""

    id: str
    room: str
    message: str
    question: str
    state: str
    attempt: int
    error: str
    ended_at: datetime | None


@dataclass(frozen=True)
class MessageRow:
    """Something that was said, by a user or by a persona."""

    id: str
    room: str
    seq: int
    client_id: str | None
    reply_to: str | None
    by_persona: bool
    run: str | None
    text: str
    status: str


@dataclass(frozen=True)
class Step:
    """A run came into a state, by a statement of whoever calls its connections so."""

    run: str
    state: str
    attempt: int
    by: str
    at: datetime


@dataclass
class Book:
    """Some rooms: their runs, what was said in them, and the frames of their logs by seq."""

    runs: list[RunRow] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    logs: dict[str, list[tuple[int, Frame]]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    @property
    def answers(self) -> dict[str, list[MessageRow]]:
        """What personas have said, by the run that the message belongs to."""
        said = defaultdict(list)
        for message in self.messages:
            if message.by_persona:
                said[message.run or ""].append(message)
        return said


RUNS = """
    SELECT run.id::text, run.room_id::text AS room, run.message_id::text AS message,
           asked.text AS question, run.state, run.attempt,
           run.error_code AS error, run.ended_at
    FROM rooms_run run JOIN rooms_message asked ON asked.id = run.message_id
    WHERE run.room_id = ANY(%s::uuid[]) ORDER BY run.queued_at, run.id
"""
MESSAGES = """
    SELECT message.id::text, message.room_id::text AS room, message.seq,
           message.client_id::text, message.reply_to_id::text AS reply_to,
           message.author_kind = 'persona' AS by_persona, run.id::text AS run,
           message.text, message.status
    FROM rooms_message message LEFT JOIN rooms_run run ON run.answer_id = message.id
    WHERE message.room_id = ANY(%s::uuid[]) ORDER BY message.room_id, message.seq
"""
EVENTS = """
    SELECT room_id::text, seq, payload FROM rooms_roomevent
    WHERE room_id = ANY(%s::uuid[]) ORDER BY room_id, seq
"""
STEPS = """
    SELECT step.run::text, step.state, step.attempt, step.by, step.at FROM watched_step step
    JOIN rooms_run run ON run.id = step.run
    WHERE run.room_id = ANY(%s::uuid[]) ORDER BY step.number
"""
HELD = """
    SELECT run.id::text FROM rooms_run run
    WHERE run.state = 'running' AND %s = (
        SELECT by FROM watched_step step WHERE step.run = run.id AND step.state = 'running'
        ORDER BY number DESC LIMIT 1
    )
"""
WATCH = """
    CREATE TABLE IF NOT EXISTS watched_step (
        number bigserial PRIMARY KEY, run uuid, state text, attempt int, by text,
        at timestamptz DEFAULT clock_timestamp()
    );
    CREATE INDEX IF NOT EXISTS watched_run ON watched_step (run, number);
    CREATE OR REPLACE FUNCTION watch_step() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO watched_step (run, state, attempt, by)
        VALUES (NEW.id, NEW.state, NEW.attempt, current_setting('application_name'));
        RETURN NULL;
    END $$;
    CREATE OR REPLACE TRIGGER watch AFTER UPDATE ON rooms_run FOR EACH ROW
    WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION watch_step();
"""


def read(postgres: Postgres, rooms: Collection[str]) -> Book:
    """Return all that is kept of these rooms."""
    which = [list(rooms)]
    book = Book(logs={room: [] for room in rooms})
    with postgres.connect() as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        book.runs = connection.cursor(row_factory=class_row(RunRow)).execute(RUNS, which).fetchall()
        said = connection.cursor(row_factory=class_row(MessageRow))
        book.messages = said.execute(MESSAGES, which).fetchall()
        book.steps = connection.cursor(row_factory=class_row(Step)).execute(STEPS, which).fetchall()
        for room, seq, payload in connection.execute(EVENTS, which):
            book.logs[room].append((seq, json.loads(payload)))
    return book


def held(postgres: Postgres, worker: str) -> list[str]:
    """Return the runs that the worker of this name has claimed last, and that have not ended."""
    with postgres.connect() as connection:
        rows = connection.execute(HELD, [worker])
        return [run for (run,) in rows]


def watch(postgres: Postgres) -> None:
    """Have PostgreSQL write down each step of each run, and on whose connection it was made."""
    with postgres.connect() as connection:
        connection.execute(WATCH)


def unended(postgres: Postgres) -> int:
    """Return how many runs of the whole installation have not ended."""
    with postgres.connect() as connection:
        found = connection.execute("SELECT count(*) FROM rooms_run WHERE ended_at IS NULL")
        return int((found.fetchone() or (0,))[0])
