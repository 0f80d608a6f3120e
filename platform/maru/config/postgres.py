"""Connections to PostgreSQL: their session settings, and why the server cannot be used."""

import re
from typing import Any, Final, Self

import psycopg
from django.conf import settings

from maru.config.terminal import give_up

CONNECT_SECONDS: Final = 5
# A process that stalls inside a transaction keeps its row locks: rooms with a locked row would
# accept no commands, and the reaper could not requeue the runs. So PostgreSQL ends the session.
STALLED_MILLISECONDS: Final = 5_000

_POOLER: Final = (
    "A connection pooler stands before the database and does not give Maru sessions of its own, or "
    "refuses the startup parameter `options`. Set pool_mode = session and "
    "ignore_startup_parameters = options in PgBouncer, or connect to PostgreSQL directly."
)
_CAUSES: Final = (
    (r"startup parameter|pooling mode", _POOLER),
    (
        r"password authentication failed|no password supplied|auth failed|sasl authentication",
        "The database refuses the user name or the password. Correct them in MARU_DATABASE_URL.",
    ),
    (
        r'(role|user) ".*" does not exist|no such user',
        "The database has no such user. Create the role, or correct MARU_DATABASE_URL.",
    ),
    (
        r'database ".*" does not exist|no such database',
        "The server has no database of this name. Create it, or correct MARU_DATABASE_URL.",
    ),
    (
        r"no encryption|ssl required|requires ssl|tls required",
        (
            "The database does not admit this user from this machine without TLS. Add "
            "?sslmode=require to MARU_DATABASE_URL, or add the user to pg_hba.conf."
        ),
    ),
    (
        r"does not support ssl",
        (
            "The database does not offer TLS. Turn TLS on there, or change sslmode in "
            "MARU_DATABASE_URL."
        ),
    ),
    (
        r"certificate|does not match host name",
        (
            "The TLS certificate of the database cannot be verified. Check sslrootcert and the "
            "host in MARU_DATABASE_URL."
        ),
    ),
    (
        r"pg_hba|permission denied for database",
        (
            "The database does not admit this user from this machine. Check pg_hba.conf and the "
            "right to connect."
        ),
    ),
    (
        r"too many (connections|clients)|connection slots|no more connections",
        "All connections of the database are taken. Raise max_connections, or stop other clients.",
    ),
    (
        r"translate host name|name or service|nodename|resolve host",
        "The host name of the database is unknown. Correct it in MARU_DATABASE_URL.",
    ),
    (
        r"starting up|shutting down|in recovery",
        "The database is starting or stopping. Start Maru again in a moment.",
    ),
)
_UNREACHABLE: Final = (
    "The database cannot be reached. Check that it runs, and check MARU_DATABASE_URL."
)


class ServingConnection(psycopg.Connection[Any]):
    """A connection of a process that serves users: PostgreSQL ends it if it stalls.

    The limit is a statement and not the startup parameter `options`, which PgBouncer refuses.
    `options` in MARU_DATABASE_URL replaces it.
    """

    @classmethod
    def connect(cls, conninfo: str = "", **kwargs: Any) -> Self:
        connection = super().connect(conninfo, **kwargs)
        if "options" not in kwargs:
            limit = f"SET idle_in_transaction_session_timeout = {STALLED_MILLISECONDS}"
            connection.execute(limit)
            connection.commit()
        return connection


def end_stalled_sessions() -> None:
    """Use `ServingConnection` in this process. Call it before the first connection.

    Management commands have no limit: a migration is idle while Python builds its next statement.
    """
    if not settings.EMBEDDED:
        pool = settings.DATABASES["default"]["OPTIONS"]["pool"]
        pool["connection_class"] = ServingConnection


def check_reachable() -> None:
    """End the process with one sentence if PostgreSQL cannot be used."""
    try:
        shared = _shares_sessions()
    except psycopg.Error as error:
        give_up(why_unreachable(error))
    if shared:
        give_up(_POOLER)


def why_unreachable(error: psycopg.Error) -> str:
    """Return the sentence for an error of a connection. libpq gives no code, only English text."""
    text = str(error).lower()
    for pattern, sentence in _CAUSES:
        if re.search(pattern, text):
            return sentence
    return _UNREACHABLE


def _shares_sessions() -> bool:
    """Return True if a pooler gives the session of one connection to another one meanwhile."""
    with _connect() as first:
        session = _session(first)
        with _connect() as second, second.transaction():
            return _session(second) == session or _session(first) != session


def _connect() -> psycopg.Connection[Any]:
    """Connect once without the pool, which would retry and log each attempt."""
    return psycopg.connect(settings.DATABASE_URL, autocommit=True, connect_timeout=CONNECT_SECONDS)


def _session(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])
