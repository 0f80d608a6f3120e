"""The cursor of prepared statements. Only processes on PostgreSQL import this module."""

from typing import Any

from django.db.backends.postgresql.base import ServerBindingCursor
from psycopg import ClientCursor


class PreparedCursor(ServerBindingCursor):
    """Prepares each statement at its first use on the connection; SQL and values are sent apart."""

    connection: Any  # Any: django-stubs do not know what psycopg defines

    def execute(self, query: Any, params: Any = None) -> Any:
        """Execute a prepared statement.

        The threshold is None for other cursors: psycopg would keep their last hundred statements,
        with the values in them, to count their uses.
        """
        self.connection.prepare_threshold = 0
        try:
            return super().execute(query, params)  # type: ignore[misc]  # of psycopg
        finally:
            self.connection.prepare_threshold = None
            self._query = _Executed(self.connection, query, params)


class _Executed:
    """The last statement of a cursor, where Django's log of queries reads it."""

    def __init__(self, connection: Any, sql: str, params: Any) -> None:  # Any: as above
        self._connection, self._sql, self._params = connection, sql, params

    @property
    def query(self) -> bytes:
        """The statement with its values."""
        return ClientCursor(self._connection).mogrify(self._sql, self._params).encode()
