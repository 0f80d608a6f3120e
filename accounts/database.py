"""The database connection of the current thread."""

from django.db import connection


def release_connection() -> None:
    """Close the database connection, so that a slow network call does not hold it.

    Django reconnects at the next query. Inside a transaction this does nothing.
    """
    if not connection.in_atomic_block:
        connection.close()
