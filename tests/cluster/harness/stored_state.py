"""What PostgreSQL stores of rooms at the end of a test: the reference for all other observations.

Read by plain SQL on a connection of its own, so that no code of the product can hide its own fault.
A trigger records each state transition of a run at the time of the transition.
"""

import json
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from tests.cluster.harness.services import Postgres
from tests.live import Frame

FINAL_STATES = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class RunRow:
    """A run, with the text of the message that it answers."""

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
    """A message of a user or of a persona."""

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
class Transition:
    """A run entered a state. `by` is the application_name of the connection that wrote it."""

    run: str
    state: str
    attempt: int
    by: str
    at: datetime


@dataclass
class StoredState:
    """Some rooms: their runs, messages, event logs (seq and frame) and recorded transitions."""

    runs: list[RunRow] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    logs: dict[str, list[tuple[int, Frame]]] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)

    @property
    def answers(self) -> dict[str, list[MessageRow]]:
        """The messages of personas by run; the key "" holds messages without a run."""
        answers = defaultdict(list)
        for message in self.messages:
            if message.by_persona:
                answers[message.run or ""].append(message)
        return answers


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
TRANSITIONS = """
    SELECT step.run::text, step.state, step.attempt, step.by, step.at
    FROM recorded_transition step JOIN rooms_run run ON run.id = step.run
    WHERE run.room_id = ANY(%s::uuid[]) ORDER BY step.number
"""
RUNNING_ON = """
    SELECT run.id::text FROM rooms_run run
    WHERE run.state = 'running' AND %s = (
        SELECT by FROM recorded_transition step
        WHERE step.run = run.id AND step.state = 'running' ORDER BY number DESC LIMIT 1
    )
"""
RECORD_TRANSITIONS = """
    CREATE TABLE IF NOT EXISTS recorded_transition (
        number bigserial PRIMARY KEY, run uuid, state text, attempt int, by text,
        at timestamptz DEFAULT clock_timestamp()
    );
    CREATE INDEX IF NOT EXISTS recorded_transition_run ON recorded_transition (run, number);
    CREATE OR REPLACE FUNCTION record_transition() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO recorded_transition (run, state, attempt, by)
        VALUES (NEW.id, NEW.state, NEW.attempt, current_setting('application_name'));
        RETURN NULL;
    END $$;
    CREATE OR REPLACE TRIGGER record_transition AFTER UPDATE ON rooms_run FOR EACH ROW
    WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION record_transition();
"""


def read_state(postgres: Postgres, rooms: Collection[str]) -> StoredState:
    """Return the stored state of these rooms, read in one REPEATABLE READ transaction."""
    parameters = [list(rooms)]
    stored = StoredState(logs={room: [] for room in rooms})
    with postgres.connect() as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        runs = connection.cursor(row_factory=class_row(RunRow))
        stored.runs = runs.execute(RUNS, parameters).fetchall()
        messages = connection.cursor(row_factory=class_row(MessageRow))
        stored.messages = messages.execute(MESSAGES, parameters).fetchall()
        transitions = connection.cursor(row_factory=class_row(Transition))
        stored.transitions = transitions.execute(TRANSITIONS, parameters).fetchall()
        for room, seq, payload in connection.execute(EVENTS, parameters):
            stored.logs[room].append((seq, json.loads(payload)))
    return stored


def running_on(postgres: Postgres, worker: str) -> list[str]:
    """Return the ids of running runs whose last claim was made by the worker of this name."""
    with postgres.connect() as connection:
        return [run for (run,) in connection.execute(RUNNING_ON, [worker])]


def record_transitions(postgres: Postgres) -> None:
    """Install the trigger that records each state transition of each run."""
    with postgres.connect() as connection:
        connection.execute(RECORD_TRANSITIONS)


def count_unended(postgres: Postgres) -> int:
    """Return the number of runs in all rooms that are not in a final state."""
    with postgres.connect() as connection:
        found = connection.execute("SELECT count(*) FROM rooms_run WHERE ended_at IS NULL")
        return int((found.fetchone() or (0,))[0])
