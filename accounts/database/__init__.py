"""The database connection of the current thread, and deletions of many rows."""

from typing import Any, Final

from django.db import Error, connection
from django.db.models import QuerySet

BATCH_ROWS: Final = 1_000


def release_connection() -> None:
    """Close the database connection, so that a slow network call does not hold it.

    Django reconnects at the next query. Inside a transaction this does nothing.
    """
    if not connection.in_atomic_block:
        connection.close()


def is_database_available() -> bool:
    """Return True if a query succeeds on the connection of this thread."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:  # InterfaceError, of a closed connection, is no DatabaseError
        return False
    return True


def delete_in_batches(rows: QuerySet[Any], *, key: str = "") -> int:
    """Delete rows, BATCH_ROWS in each transaction; return their number.

    Django loads the rows that it deletes and the rows that refer to them, so one deletion of all
    rows of a large room would take the memory of the whole room. `key` is a unique field by which
    an index orders `rows`: each batch starts behind the last one. Without `key`, each batch reads
    the index entries of all rows that were deleted before and that were not vacuumed yet.
    """
    deleted, remaining = 0, rows.order_by(key) if key else rows
    while batch := list(remaining.values_list("pk", key or "pk")[:BATCH_ROWS]):
        keys = [primary for primary, _key in batch]
        rows.model._base_manager.filter(pk__in=keys).delete()  # noqa: SLF001 # Django documents it
        deleted += len(keys)
        if key:
            remaining = remaining.filter(**{f"{key}__gt": batch[-1][1]})
    return deleted
