"""What to do before something that may take long."""

from django.db import connection


def release_connection() -> None:
    """Let others have our way to the database while we wait for somebody outside.

    Within a transaction there is nothing to give back; Django opens another one when it is needed.
    """
    if not connection.in_atomic_block:
        connection.close()
