"""The audit as a file, in pieces: however long it is, no more than one of them is in memory."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Final

import orjson
from asgiref.sync import sync_to_async
from django.db.models import QuerySet

from accounts.database import release_connection
from accounts.models import AuditEntry

MAX_ENTRIES: Final = 100_000
CHUNK_ENTRIES: Final = 500
_COLUMNS: Final = (
    *("number", "created_at", "actor", "actor_name", "token", "ip", "action", "refused"),
    *("target_kind", "target", "before", "after", "prev_hash", "hash"),
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


async def stream_chunks(file: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the pieces of a file, each of which is made in a thread when it is asked for."""
    while (piece := await sync_to_async(lambda: next(file, None))()) is not None:
        yield piece


def json_chunks(
    entries: QuerySet[AuditEntry], encode: Callable[[AuditEntry], bytes]
) -> Iterator[bytes]:
    """Yield a JSON list of the newest entries; `encode` returns the JSON of one entry."""
    joint = b"["
    for some in _batches(entries):
        yield joint + b",\n".join(encode(entry) for entry in some)
        joint = b",\n"
    yield b"]" if joint != b"[" else b"[]"


def csv_chunks(entries: QuerySet[AuditEntry]) -> Iterator[bytes]:
    """Yield a table of the newest entries in which no text is a formula."""
    yield _table([_COLUMNS])
    for some in _batches(entries):
        yield _table(_row(entry) for entry in some)


def _batches(entries: QuerySet[AuditEntry]) -> Iterator[Sequence[AuditEntry]]:
    """Yield the newest entries, a few at a time, and hold no connection in between.

    Whoever fetches the file may be slow.
    """
    rest, left = entries.order_by("-number"), MAX_ENTRIES
    while some := list(rest[: min(CHUNK_ENTRIES, left)]):
        release_connection()
        yield some
        rest, left = rest.filter(number__lt=some[-1].number), left - len(some)


def _table(rows: Iterable[Sequence[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def _row(entry: AuditEntry) -> list[object]:
    """The values of `_COLUMNS`."""
    return [
        *(entry.number, entry.created_at.isoformat(), entry.actor_id or ""),
        *(entry.actor.name if entry.actor else "", entry.token_hint, entry.ip, entry.action),
        *(entry.refused, entry.target_kind, entry.target_id or ""),
        *(orjson.dumps(facts).decode() for facts in (entry.before, entry.after)),
        *(entry.prev_hash, entry.hash),
    ]


def _cell(value: object) -> str:
    """Keep a table from taking a text for a formula: such a text begins with an apostrophe."""
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
