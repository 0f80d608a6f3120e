"""The audit log: one entry for each change, with its actor, its target and its origin.

Services call `audit` as their last step, in the transaction that makes the change: it locks the
log of the team, so every other lock must be taken before it. A refused action is recorded by
`audit_refusal` after its transaction is rolled back. Entries never hold secrets, keys or the texts
of personas: a changed secret field is only named. Room messages are in the event log of the room.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import connection, transaction
from django.http import HttpRequest

from accounts.errors import Forbidden, MaruError, NotFound
from accounts.models import AuditEntry, User

Facts = Mapping[str, object]
"""What JSON has; short, and no secret."""

client_address: Final[ContextVar[str]] = ContextVar("client_address", default="")
"""The address that the request or the socket at work comes from; empty for commands and workers."""

MAX_ACTION_LENGTH: Final = 120
_REFUSED: Final = "refused"
_BEGINNING: Final = "0" * 64


@transaction.atomic(savepoint=False)
def audit(
    actor: User | None,
    action: str,
    target_id: UUID,
    *,
    team_id: UUID | None = None,
    before: Facts | None = None,
    after: Facts | None = None,
) -> None:
    """Write down that `actor` did something to a thing, whose kind is the first word of `action`.

    `actor` None is whoever runs the server, or what follows from a rule. It costs two queries.
    """
    _append(
        AuditEntry(
            actor=actor,
            action=action,
            target_kind=action.partition(".")[0],
            target_id=target_id,
            team_id=team_id,
            before=dict(before or {}),
            after=dict(after or {}),
        )
    )


def set_refusal(request: HttpRequest, error: MaruError) -> None:
    """Remember that a request was refused, for the one place that writes it down after it."""
    setattr(request, _REFUSED, error)


def get_refusal(request: HttpRequest) -> MaruError | None:
    """Return what `set_refusal` has kept."""
    error: MaruError | None = getattr(request, _REFUSED, None)
    return error


@transaction.atomic
def audit_refusal(
    actor: User | None,
    action: str,
    error: MaruError,
    *,
    target_kind: str = "",
    target_id: UUID | None = None,
    context: Facts | None = None,
) -> None:
    """Write down that `actor` tried something and was told no because of their rights.

    `context` names what else the way there has named: the team or room of the thing.

    A member's attempt is in the log of the team. Where the answer was that nothing is there, it is
    in that of the installation: even the work it takes must not tell a foreign thing from none.
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
    number, entry.prev_hash = _lock_end(entry.team_id)
    entry.number = number + 1
    entry.hash = digest(entry)
    entry.save(force_insert=True)


def _lock_end(team_id: UUID | None) -> tuple[int, str]:
    """Return number and hash of the last entry, which stays the last until we have written.

    PostgreSQL reads what a statement sees before the statement waits for a lock, so there both are
    steps of a function. SQLite's transactions begin with a lock.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT number, hash FROM accounts_audit_lock_end(%s)", [team_id])
            row = cursor.fetchone()
    else:
        entries = AuditEntry.objects.filter(team=team_id).order_by("-number")
        row = entries.values_list("number", "hash").first()
    return row or (0, _BEGINNING)


def digest(entry: AuditEntry) -> str:
    """Return the hash that an entry must have: of all that it says and of the one before it."""
    said: list[Any] = [  # Any: JSON
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
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a chain: its end, and the number of the first entry that is not as written."""

    team_id: UUID | None
    number: int
    hash: str
    broken_at: int | None


def verify() -> Iterator[Verdict]:
    """Yield the verdict on each chain, the one of the installation first.

    A chain shows any change in it but a missing end: for that, compare its end with an older one.
    """
    yield _verdict(None)
    teams = AuditEntry.objects.exclude(team=None).order_by("team_id")
    for team_id in teams.values_list("team_id", flat=True).distinct():
        yield _verdict(team_id)


def _verdict(team_id: UUID | None) -> Verdict:
    number, last = 0, _BEGINNING
    for entry in AuditEntry.objects.filter(team=team_id).order_by("number").iterator():
        whole = (entry.number, entry.prev_hash, entry.hash) == (number + 1, last, digest(entry))
        if not whole:
            return Verdict(team_id, number, last, broken_at=number + 1)
        number, last = entry.number, entry.hash
    return Verdict(team_id, number, last, broken_at=None)
