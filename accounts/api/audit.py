"""The REST endpoint of a team's audit log, and the body of an entry."""

from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from accounts.api.bodies import Time, encode
from accounts.api.pagination import MAX_PAGE, Cursor, Limit, Page, each, page_of
from accounts.api.routing import Gate, Routes
from accounts.fields import Timestamp, format_timestamp
from accounts.models import AuditEntry, Team, User
from accounts.permissions import MANAGE_PEOPLE, access_team

routes = Routes("teams")


ActionPrefix = Annotated[str, Meta(max_length=120, description="prefix of the action: room.")]


class AuditActor(Struct, frozen=True):
    """The user who acted; `name` is null if the account was deleted."""

    id: UUID
    name: str | None


class AuditTarget(Struct, frozen=True):
    """The object of an action."""

    kind: str
    id: UUID | None


class AuditEntryBody(Struct, frozen=True, kw_only=True):
    """An action that was carried out or, if `refused`, attempted without the permission."""

    id: UUID
    number: int
    created_at: Timestamp
    actor: AuditActor | None
    token: str
    ip: str
    action: str
    target: AuditTarget
    before: dict[str, Any]
    after: dict[str, Any]
    refused: bool
    prev_hash: str
    hash: str


@routes.add(
    "GET /teams/{uuid:team_id}/audit",
    Gate(access_team, MANAGE_PEOPLE),
    summary="List the audit entries of a team, newest first",
)
def get_audit(
    user: User,
    team: Team,
    limit: Limit = MAX_PAGE,
    cursor: Cursor = None,
    *,
    actor: UUID | None = None,
    action: ActionPrefix = "",
    since: Time | None = None,
    until: Time | None = None,
) -> Page[AuditEntryBody]:
    entries = AuditEntry.objects.filter(team=team).select_related("actor")
    found = entries.matching(actor=actor, action=action, since=since, until=until)
    return page_of(found, each(entry_body), limit=limit, cursor=cursor)


def entry_body(entry: AuditEntry) -> AuditEntryBody:
    """Return the body of an entry; `entry.actor` must be loaded with it."""
    actor = None
    if entry.actor_id is not None:
        actor = AuditActor(id=entry.actor_id, name=entry.actor.name if entry.actor else None)
    return AuditEntryBody(
        id=entry.pk,
        number=entry.number,
        created_at=format_timestamp(entry.created_at),
        actor=actor,
        token=entry.token_hint,
        ip=entry.ip,
        action=entry.action,
        target=AuditTarget(kind=entry.target_kind, id=entry.target_id),
        before=entry.before,
        after=entry.after,
        refused=entry.refused,
        prev_hash=entry.prev_hash,
        hash=entry.hash,
    )


def entry_json(entry: AuditEntry) -> bytes:
    """Return `entry_body` of an entry as JSON."""
    return encode(entry_body(entry))
