"""The indexes of the large tables besides their keys: messages and runs.

Each insert writes to each index, and a table of 100 million rows has gigabytes of each. So an index
is here only if a query needs it (`tests/cluster/stores/test_query_plans.py` reads the plans), or if
the deletion of a referenced row does. The keys (room, seq) of messages and events serve all reads
of a conversation, so the foreign keys to the room have no index of their own.
"""

from typing import Any, Final

from django.db.models import Index, Q


class PartialIndex(Index):
    """An index with a condition, which PostgreSQL keeps; SQLite indexes all rows.

    SQLite uses a partial index only if the query has the value of the condition as a literal, and
    Django passes values as parameters. So `fields` include the fields of `condition`.
    """

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **kwargs: Any) -> Any:
        if schema_editor.connection.vendor == "sqlite":
            every_row = Index(fields=self.fields, name=self.name)
            return every_row.create_sql(model, schema_editor, using, **kwargs)
        return super().create_sql(model, schema_editor, using, **kwargs)


# A comparison of a column with a value implies that the column is not null, in SQLite too.
OF_MESSAGES: Final = [
    # The deleted messages that are not read count as unread in `Room.message_count`.
    Index(fields=["room", "seq"], condition=Q(deleted_at__isnull=False), name="message_deleted"),
    Index(fields=["user"], condition=Q(user__isnull=False), name="message_of_user"),
    # The key (room, seq) would read all replies of threads between two messages of the room.
    Index(fields=["room", "seq"], condition=Q(in_room=True), name="message_in_room"),
    Index(
        fields=["thread_root", "seq"],
        condition=Q(thread_root__isnull=False),
        name="message_of_thread",
    ),
    Index(fields=["reply_to"], condition=Q(reply_to__isnull=False), name="message_replies"),
    Index(
        fields=["room", "pinned_seq"], condition=Q(pinned_seq__isnull=False), name="message_pinned"
    ),
    Index(fields=["pinned_by"], condition=Q(pinned_by__isnull=False), name="message_pinned_by"),
]

# The indexes of queued, running and waiting runs hold few of the rows. None has `lease_until`, so
# that a heartbeat is a HOT update, which writes to no index.
OF_RUNS: Final = [
    PartialIndex(
        fields=["team", "state", "queued_at", "id"],
        condition=Q(state="queued"),
        name="run_waiting",
    ),
    PartialIndex(fields=["state", "team"], condition=Q(state="running"), name="run_running"),
    PartialIndex(fields=["team", "state"], condition=Q(state="waiting"), name="run_waits"),
    PartialIndex(
        fields=["room", "state"],
        condition=Q(state__in=["queued", "running", "waiting"]),
        name="run_unended_in_room",
    ),
    Index(fields=["room", "ended_at"], name="run_of_room"),
    Index(fields=["round"], condition=Q(round__isnull=False), name="run_of_round"),
    Index(fields=["parent_call"], condition=Q(parent_call__isnull=False), name="run_of_call"),
    Index(fields=["origin"], condition=Q(origin__isnull=False), name="run_of_chain"),
    Index(fields=["stopped_by"], condition=Q(stopped_by__isnull=False), name="run_stopped_by"),
]
