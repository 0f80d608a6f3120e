"""Who shows what at the door of the socket, and whether it still lets them in."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.contrib.sessions.models import Session
from django.db.models import OuterRef
from django.utils import timezone

from accounts.mfa import lacks_required_mfa
from accounts.models import ApiToken, User
from accounts.services import users_for_sessions, users_for_tokens
from rooms.executors import CHECKS, in_thread
from rooms.fanout.credentials import Credential, RoomsByCredential
from rooms.models import Room

AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody shows at the door; a token is judged alone, whatever cookie is beside it."""

    token: str | None
    session_key: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """Who has come, and by what."""

    user: User
    credential: Credential


class Lookup:
    """Finds out who shows what: those who come while it looks are looked up next, and together.

    A thousand who come back at once cost some tens of queries, and strangers in a crowd hold up
    nobody who is in already: they have one thread.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Shown, asyncio.Future[Known | None]]] = []
        self._looking: asyncio.Task[None] | None = None

    async def __call__(self, shown: Shown) -> Known | None:
        """Return who shows this, or None where it lets nobody in; raises what the database does."""
        found = asyncio.get_running_loop().create_future()
        self._waiting.append((shown, found))
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        known: Known | None = await found
        return known

    async def _look(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            failure: Exception | None = None
            known: list[Known | None] = [None] * len(batch)
            try:
                known = await in_thread(CHECKS, known_by, [shown for shown, _future in batch])
            except Exception as error:  # each of them is told
                failure = error
            for (_shown, future), one in zip(batch, known, strict=True):
                if future.cancelled():  # whoever has gone away meanwhile
                    continue
                if failure is None:
                    future.set_result(one)
                else:
                    future.set_exception(failure)
        self._looking = None


def known_by(shown: Sequence[Shown]) -> list[Known | None]:
    """Return who shows each of these; three queries at most, however many they are."""
    bearers = users_for_tokens({each.token for each in shown if each.token is not None})
    signed_in = users_for_sessions(
        {each.session_key for each in shown if each.token is None and each.session_key}
    )
    return [_known(each, bearers, signed_in) for each in shown]


def _known(shown: Shown, bearers: dict[str, User], signed_in: dict[str, User]) -> Known | None:
    if shown.token is None:
        user = signed_in.get(shown.session_key or "")
        return Known(user, Credential(user.pk, session_key=shown.session_key)) if user else None
    user = bearers.get(shown.token)
    if user is None:
        return None
    token = Credential(user.pk, token_id=user.scope.token_id, team_id=user.scope.team_id)
    return Known(user, token)


def those_that_ended(joined: RoomsByCredential) -> set[Credential]:
    """Return which credentials nobody could come in by any more, or not into all that is open.

    Three queries for all; one more where a team asks somebody for a second step that they lack.
    """
    users = User.objects.filter(is_active=True, pk__in={c.user_id for c in joined})
    tokens = ApiToken.objects.valid().filter(pk__in={c.token_id for c in joined})
    sessions = Session.objects.filter(
        expire_date__gt=timezone.now(), session_key__in={c.session_key for c in joined}
    )
    alive = {None, *tokens.values_list("pk", flat=True), *sessions.values_list("pk", flat=True)}
    active = dict(users.values_list("pk", lacks_required_mfa(OuterRef("pk"))))
    ended = {c for c in joined if c.user_id not in active or not {*c.keys} <= alive}
    return ended | _shut_out({c: rooms for c, rooms in joined.items() if active.get(c.user_id)})


def _shut_out(joined: RoomsByCredential) -> set[Credential]:
    """Return by which of these a room of a team that asks for two steps is open."""
    rooms = {room for rooms in joined.values() for room in rooms}
    if not rooms:
        return set()
    asked = Room.objects.filter(pk__in=rooms, team__require_mfa=True)
    asking = set(asked.values_list("pk", flat=True))
    return {c for c, rooms in joined.items() if not asking.isdisjoint(rooms)}
