"""The REST endpoint of a team's audit, and the shape in which one entry goes out."""

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel

from accounts.api.endpoints import LONGEST_PAGE, Cursor, Limit, Moment, Page, Time, page_of
from accounts.models import AuditEntry
from accounts.permissions import MANAGE_PEOPLE, access_team, require_user

router = Router(tags=["teams"])

_NO_NUL = r"^[^\x00]*$"
Beginning = Annotated[
    str, Query(max_length=120, pattern=_NO_NUL, description="how the action begins: room.")
]


class Actor(BaseModel):
    """Who did it; no name where the account is gone."""

    id: UUID
    name: str | None


class Target(BaseModel):
    """What it was done to."""

    kind: str
    id: UUID | None


class Entry(BaseModel):
    """One thing that was done or, with `refused`, only tried."""

    id: UUID
    number: int
    created_at: Time
    actor: Actor | None
    token: str
    ip: str
    action: str
    target: Target
    before: dict[str, Any]
    after: dict[str, Any]
    refused: bool
    prev_hash: str
    hash: str


@router.get(
    "/teams/{uuid:team_id}/audit", response=Page[Entry], summary="Who did what, newest first"
)
def get_audit(
    request: HttpRequest,
    team_id: UUID,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
    *,
    actor: UUID | None = None,
    action: Beginning = "",
    since: Moment | None = None,
    until: Moment | None = None,
) -> Page[Entry]:
    team = access_team(require_user(request), team_id, MANAGE_PEOPLE)
    entries = AuditEntry.objects.filter(team=team).select_related("actor")
    found = entries.matching(actor=actor, action=action, since=since, until=until)
    return page_of(found, entry_body, limit=limit, cursor=cursor)


def entry_body(entry: AuditEntry) -> Entry:
    """Return what is told of an entry; the actor must have been read with it."""
    actor = None
    if entry.actor_id is not None:
        actor = Actor(id=entry.actor_id, name=entry.actor.name if entry.actor else None)
    return Entry(
        id=entry.pk,
        number=entry.number,
        created_at=entry.created_at,
        actor=actor,
        token=entry.token_hint,
        ip=entry.ip,
        action=entry.action,
        target=Target(kind=entry.target_kind, id=entry.target_id),
        before=entry.before,
        after=entry.after,
        refused=entry.refused,
        prev_hash=entry.prev_hash,
        hash=entry.hash,
    )


def entry_json(entry: AuditEntry) -> bytes:
    """Return `entry_body` of an entry as JSON."""
    return entry_body(entry).model_dump_json().encode()
