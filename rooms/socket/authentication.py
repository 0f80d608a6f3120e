"""Authentication of connections, in batches, when they open and while they are open."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.sessions.models import Session
from django.db.models import F, OuterRef
from django.utils import timezone

from accounts.mfa import lacks_required_mfa
from accounts.models import ApiToken, User
from accounts.services import users_for_sessions, users_for_tokens
from rooms.fanout.credentials import Credential, RoomsByCredential
from rooms.models import Room
from rooms.socket.any_of import AnyOf
from rooms.socket.batches import Batches


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials in a request. If there is a token, the session cookie is ignored."""

    token: str | None
    session_key: str | None


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user, and the token or session that authenticated the connection."""

    user: User
    credential: Credential


class Authenticator(Batches[Credentials, Identity | None]):
    """Authenticates requests in batches."""

    def resolve_many(self, requests: Sequence[Credentials]) -> Sequence[Identity | None]:
        return authenticate_many(requests)

    async def authenticate(self, credentials: Credentials) -> Identity | None:
        """Return the identity, or None for invalid credentials; raises database errors."""
        return await self.resolve(credentials)


def authenticate_many(many: Sequence[Credentials]) -> list[Identity | None]:
    """Return the identity for each of the credentials, or None; at most three queries in all."""
    by_token = users_for_tokens({each.token for each in many if each.token is not None})
    by_session = users_for_sessions(
        {each.session_key for each in many if each.token is None and each.session_key}
    )
    identities: list[Identity | None] = []
    for presented in many:
        identity = None
        if presented.token is None:
            if user := by_session.get(presented.session_key or ""):
                credential = Credential(user.pk, session_key=presented.session_key)
                identity = Identity(user, credential)
        elif user := by_token.get(presented.token):
            scope = user.scope
            credential = Credential(user.pk, token_id=scope.token_id, team_id=scope.team_id)
            identity = Identity(user, credential)
        identities.append(identity)
    return identities


def revoked_credentials(joined: RoomsByCredential) -> set[Credential]:
    """Return the credentials that are no longer valid, for login or for one of their joined rooms.

    Up to three queries that count; more only if some of the credentials may have to be revoked.
    """
    user_ids = {c.user_id for c in joined}
    token_ids = {c.token_id for c in joined} - {None}
    session_keys = {c.session_key for c in joined} - {None}
    users = User.objects.filter(AnyOf(F("pk"), user_ids), is_active=True)
    tokens = ApiToken.objects.valid().filter(AnyOf(F("pk"), token_ids))
    sessions = Session.objects.filter(
        AnyOf(F("session_key"), session_keys), expire_date__gt=timezone.now()
    )
    if (
        users.exclude(lacks_required_mfa(OuterRef("pk"))).count() == len(user_ids)
        and tokens.count() == len(token_ids)
        and sessions.count() == len(session_keys)
    ):
        return set()
    valid = {None, *tokens.values_list("pk", flat=True), *sessions.values_list("pk", flat=True)}
    lacks_mfa = dict(users.values_list("pk", lacks_required_mfa(OuterRef("pk"))))
    revoked = {c for c in joined if c.user_id not in lacks_mfa or not {*c.keys} <= valid}
    without_mfa = {c: rooms for c, rooms in joined.items() if lacks_mfa.get(c.user_id)}
    if room_ids := {room for rooms in without_mfa.values() for room in rooms}:
        requiring = Room.objects.filter(pk__in=room_ids, team__require_mfa=True)
        requiring_ids = set(requiring.values_list("pk", flat=True))
        revoked |= {c for c, rooms in without_mfa.items() if not requiring_ids.isdisjoint(rooms)}
    return revoked
