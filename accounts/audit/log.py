"""The audit log: one entry for each change, with its actor, its target and its origin.

Services call `audit` as their last step, in the transaction that makes the change: it locks the
log of the team, so every other lock must be taken before this call. `audit_refusal` records a
refused action after its transaction is rolled back. Entries never hold secrets, keys or the texts
of personas: for a changed secret field, the entry holds only the name of the field. Messages are
recorded in the event log of their room.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import connection, transaction
from django.http import HttpRequest

from accounts.errors import Forbidden, MaruError, NotFound
from accounts.models import AuditEntry, User

Values = Mapping[str, object]
"""JSON values of an entry: short, and without secrets."""

client_address: Final[ContextVar[str]] = ContextVar("client_address", default="")
"""The IP of the current request or socket; empty in commands and workers."""

_held_back: ContextVar[list[AuditEntry] | None] = ContextVar("held_back", default=None)

MAX_ACTION_LENGTH: Final = 120
_REFUSAL: Final = "maru_refusal"
_FIRST_PREV_HASH: Final = "0" * 64


@transaction.atomic(savepoint=False)
def audit(
    actor: User | None,
    action: str,
    target_id: UUID,
    *,
    team_id: UUID | None = None,
    before: Values | None = None,
    after: Values | None = None,
) -> None:
    """Write the entry of a change, in two queries.

    The first word of `action` is the kind of the target. `actor` is None for the operator and for
    changes that the server makes by itself. Inside `audit_last` the entry is written later.
    """
    entry = AuditEntry(
        actor=actor,
        action=action,
        target_kind=action.partition(".")[0],
        target_id=target_id,
        team_id=team_id,
        before=dict(before or {}),
        after=dict(after or {}),
    )
    held_back = _held_back.get()
    if held_back is None:
        _append(entry)
    else:
        held_back.append(entry)


@contextmanager
def audit_last() -> Iterator[None]:
    """Hold the entries of `audit` back until the block ends; write none if the block raises.

    For transactions that audit several steps: an entry locks its chain until the commit, so a row
    that is locked after it could cause a deadlock. The chains are locked in one order: teams by id,
    the installation last. Nested blocks write with the outermost one.
    """
    outer = _held_back.get()
    if outer is not None:
        count = len(outer)
        try:
            yield
        except BaseException:
            del outer[count:]
            raise
        return
    entries: list[AuditEntry] = []
    token = _held_back.set(entries)
    try:
        yield
    finally:
        _held_back.reset(token)
    for entry in sorted(entries, key=lambda entry: (entry.team_id is None, str(entry.team_id))):
        _append(entry)


def set_refusal(request: HttpRequest, error: MaruError) -> None:
    """Store the error of a refused request, for the middleware that audits it."""
    setattr(request, _REFUSAL, error)


def get_refusal(request: HttpRequest) -> MaruError | None:
    """Return the error that `set_refusal` stored."""
    error: MaruError | None = getattr(request, _REFUSAL, None)
    return error


@transaction.atomic
def audit_refusal(
    actor: User | None,
    action: str,
    error: MaruError,
    *,
    target_kind: str = "",
    target_id: UUID | None = None,
    context: Values | None = None,
) -> None:
    """Write the entry of an action that was refused for lack of permission; ignore other errors.

    `context` holds the other ids of the request, for example the team of the target. A Forbidden
    goes to the log of the team. A NotFound goes to the log of the installation, so that the work
    is the same for a missing object and for an object of another team.
    """
    if not isinstance(error, Forbidden | NotFound):
        return
    _append(
        AuditEntry(
            actor=actor,
            action=action[:MAX_ACTION_LENGTH],
            target_kind=target_kind,
            target_id=target_id,
            team_id=error.team_id if isinstance(error, Forbidden) else None,
            before=dict(context or {}),
            refused=True,
        )
    )


def _append(entry: AuditEntry) -> None:
    entry.ip = client_address.get()
    if entry.actor is not None:
        entry.token_hint = entry.actor.scope.token_hint
    number, entry.prev_hash = _lock_last_entry(entry.team_id)
    entry.number = number + 1
    entry.hash = compute_hash(entry)
    entry.save(force_insert=True)


def _lock_last_entry(team_id: UUID | None) -> tuple[int, str]:
    """Return the number and hash of the last entry; other writers wait until the commit.

    PostgreSQL takes the snapshot of a statement before the statement waits for a lock, so a single
    statement could read an old last entry. A database function therefore locks in one statement
    and reads in the next. In SQLite every transaction starts with a lock (BEGIN IMMEDIATE).
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT number, hash FROM accounts_audit_lock_end(%s)", [team_id])
            row = cursor.fetchone()
    else:
        entries = AuditEntry.objects.filter(team=team_id).order_by("-number")
        row = entries.values_list("number", "hash").first()
    return row or (0, _FIRST_PREV_HASH)


def compute_hash(entry: AuditEntry) -> str:
    """Return the SHA-256 of the entry's fields and of the hash of the entry before it."""
    fields: list[Any] = [  # Any: JSON
        entry.prev_hash,
        entry.team_id,
        entry.number,
        entry.pk,
        entry.created_at,
        entry.actor_id,
        entry.token_hint,
        entry.ip,
        entry.action,
        entry.target_kind,
        entry.target_id,
        entry.before,
        entry.after,
        entry.refused,
    ]
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """The last intact entry of a chain, and the number of the first entry that was tampered with.

    `broken_at` is None if the chain is intact.
    """

    team_id: UUID | None
    number: int
    hash: str
    broken_at: int | None


def verify_chains() -> Iterator[ChainStatus]:
    """Yield the status of each chain, the chain of the installation first.

    A chain reveals every change except the removal of its last entries. To detect a removal,
    compare the last entry with the output of an earlier verification.
    """
    yield _verify_chain(None)
    teams = AuditEntry.objects.exclude(team=None).order_by("team_id")
    for team_id in teams.values_list("team_id", flat=True).distinct():
        yield _verify_chain(team_id)


def _verify_chain(team_id: UUID | None) -> ChainStatus:
    number, last_hash = 0, _FIRST_PREV_HASH
    for entry in AuditEntry.objects.filter(team=team_id).order_by("number").iterator():
        expected = (number + 1, last_hash, compute_hash(entry))
        if (entry.number, entry.prev_hash, entry.hash) != expected:
            return ChainStatus(team_id, number, last_hash, broken_at=number + 1)
        number, last_hash = entry.number, entry.hash
    return ChainStatus(team_id, number, last_hash, broken_at=None)
