"""Executes statements that PostgreSQL keeps with their plans: prepared statements.

Each connection prepares a statement at its first use. PostgreSQL plans it for the values of each of
the first five executions, and mostly for all values after that. psycopg drops the statements of a
connection after a rollback. SQLite has its own cache of statements.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import NotSupportedError, connection


@contextmanager
def executed(sql: str, params: Sequence[Any]) -> Iterator[Any]:  # Any: Django types no cursor
    """The cursor of a statement that was executed on the connection of this thread.

    PostgreSQL refuses a statement after a migration has changed the type of a column that it
    returns. It is then prepared again; except in a transaction, whose rollback drops the statement.
    """
    with _cursor() as cursor:
        try:
            cursor.execute(sql, params)
        except NotSupportedError:
            if not connection.get_autocommit():
                raise
            cursor.execute("DEALLOCATE ALL")  # psycopg notices this and forgets the statements
            cursor.execute(sql, params)
        yield cursor


def literal(value: Any) -> str:
    """Return a value as PostgreSQL reads it, for SQL that also has placeholders."""
    connection.ensure_connection()
    ops: Any = connection.ops  # Any: the stubs know only what all databases have
    text: str = ops.compose_sql("%s", [value])
    return text.replace("%", "%%")


@contextmanager
def _cursor() -> Iterator[Any]:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Here, because the embedded profile does not import the driver.
            from accounts.database.prepared_cursor import PreparedCursor  # noqa: PLC0415

            # Django's wrapper, which counts queries and converts errors, stays around it.
            prepared: Any = PreparedCursor  # Any: django-stubs know no constructor
            cursor.cursor = prepared(connection.connection)
        yield cursor
