"""The audit log as a JSON or CSV file, generated in chunks so that memory use is constant."""

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


async def stream_chunks(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks; a worker thread generates each chunk when the response needs it."""
    while (chunk := await sync_to_async(lambda: next(chunks, None))()) is not None:
        yield chunk


def json_chunks(
    entries: QuerySet[AuditEntry], encode: Callable[[AuditEntry], bytes]
) -> Iterator[bytes]:
    """Yield a JSON list of the newest entries; `encode` returns the JSON of one entry."""
    separator = b"["
    for batch in _batches(entries):
        yield separator + b",\n".join(encode(entry) for entry in batch)
        separator = b",\n"
    yield b"]" if separator != b"[" else b"[]"


def csv_chunks(entries: QuerySet[AuditEntry]) -> Iterator[bytes]:
    """Yield a CSV table of the newest entries; a spreadsheet evaluates no cell as a formula."""
    yield _encode_rows([_COLUMNS])
    for batch in _batches(entries):
        yield _encode_rows(_row(entry) for entry in batch)


def _batches(entries: QuerySet[AuditEntry]) -> Iterator[Sequence[AuditEntry]]:
    """Yield the newest entries in batches of CHUNK_ENTRIES, at most MAX_ENTRIES.

    The database connection is released between batches, because the client may download slowly.
    """
    remaining, limit = entries.order_by("-number"), MAX_ENTRIES
    while batch := list(remaining[: min(CHUNK_ENTRIES, limit)]):
        release_connection()
        yield batch
        remaining, limit = remaining.filter(number__lt=batch[-1].number), limit - len(batch)


def _encode_rows(rows: Iterable[Sequence[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def _row(entry: AuditEntry) -> list[object]:
    """Return the values of `_COLUMNS`."""
    return [
        *(entry.number, entry.created_at.isoformat(), entry.actor_id or ""),
        *(entry.actor.name if entry.actor else "", entry.token_hint, entry.ip, entry.action),
        *(entry.refused, entry.target_kind, entry.target_id or ""),
        *(orjson.dumps(values).decode() for values in (entry.before, entry.after)),
        *(entry.prev_hash, entry.hash),
    ]


def _cell(value: object) -> str:
    """Return the value as text; a leading apostrophe keeps a formula from being evaluated.

    See OWASP, "CSV Injection".
    """
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
