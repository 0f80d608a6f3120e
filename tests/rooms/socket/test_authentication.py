"""Those who come at once are known as each would be who comes alone."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import DatabaseError, InterfaceError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from accounts.services import create_token
from rooms.fanout.credentials import Credential
from rooms.socket import authentication
from rooms.socket.authentication import Known, Lookup, Shown, known_by, those_that_ended
from rooms.socket.handshake import Admission
from tests.deadlines import DEADLINE
from tests.rooms.conftest import make_user

pytestmark = pytest.mark.django_db

BACKEND = settings.AUTHENTICATION_BACKENDS[0]


def session_of(user: User | None, **said: Any) -> str:
    """Sign somebody in; return the key of the session."""
    store = SessionStore()
    if user is not None:
        store[SESSION_KEY] = str(user.pk)
        store[BACKEND_SESSION_KEY] = said.get("backend", BACKEND)
        store[HASH_SESSION_KEY] = said.get("hash", user.get_session_auth_hash())
    store.set_expiry(said.get("until", timezone.now() + timedelta(hours=1)))
    store.create()
    assert store.session_key
    return store.session_key


def cookie(key: str) -> Shown:
    return Shown(None, key)


def users(known: Sequence[Known | None]) -> list[User | None]:
    return [each.user if each else None for each in known]


def test_each_is_known_by_what_they_show() -> None:
    first, second = make_user("First"), make_user("Second")
    key, (token, secret) = session_of(first), create_token(user=second, name="script")

    known = known_by([Shown(secret, None), cookie(key), Shown(None, None), Shown(secret, key)])

    by_token, by_session = Credential(second.pk, token.pk), Credential(first.pk, session_key=key)
    assert [each.credential if each else None for each in known] == [
        by_token,
        by_session,
        None,
        by_token,
    ]
    assert by_token == known[0].credential  # type: ignore[union-attr]  # it is known, see above


def test_sessions_that_let_nobody_in_are_nobodys() -> None:
    user, away = make_user("User"), make_user("Away")
    keys = [
        session_of(None),
        session_of(user, hash="of an older password"),
        session_of(user, hash=None),
        session_of(user, backend="somewhere.Else"),
        session_of(user, until=timezone.now() - timedelta(seconds=1)),
        session_of(away),
        "never0given0out0000000000000000",
        "",
    ]
    User.objects.filter(pk=away.pk).update(is_active=False)
    good = session_of(user)

    assert users(known_by([cookie(key) for key in [*keys, good]])) == [None] * len(keys) + [user]


@pytest.mark.parametrize("poison", ["\0", "a\0b", "é" * 40, "' OR 1=1"])
def test_a_cookie_that_no_database_takes_spoils_nothing_for_the_others(poison: str) -> None:
    user = make_user("User")
    key = session_of(user)

    with CaptureQueriesContext(connection) as queries:  # SQLite would take it
        assert known_by([cookie(poison)]) == [None]
    assert not queries
    assert users(known_by([cookie(poison), cookie(key)])) == [None, user]


def test_a_crowd_costs_what_one_costs() -> None:
    shown = [cookie(session_of(make_user(f"User{n}"))) for n in range(30)]
    shown += [Shown(create_token(user=make_user(f"Bot{n}"), name="b")[1], None) for n in range(30)]

    with CaptureQueriesContext(connection) as queries:
        known = known_by(shown)

    assert all(known)
    assert len(queries) == 3


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[list[Shown]]:
    """What was looked up together; everybody is nobody."""
    found: list[list[Shown]] = []

    def look(shown: Sequence[Shown]) -> list[None]:
        found.append(list(shown))
        if any(each.token == "broken" for each in shown):
            raise DatabaseError
        if any(each.token == "cut" for each in shown):
            raise InterfaceError
        return [None] * len(shown)

    monkeypatch.setattr(authentication, "known_by", look)
    return found


async def test_who_comes_while_it_looks_is_looked_up_next_and_together(
    looks: list[list[Shown]],
) -> None:
    ask = Lookup()
    came = [cookie(str(n)) for n in range(1 + 2 * authentication.AT_ONCE)]

    first = asyncio.create_task(ask(came[0]))
    await asyncio.sleep(0)
    await asyncio.gather(first, *map(ask, came[1:]))

    assert [len(each) for each in looks] == [1, authentication.AT_ONCE, authentication.AT_ONCE]
    assert [one for each in looks for one in each] == came


async def test_each_is_told_that_the_database_is_away_and_the_next_may_be_lucky(
    looks: list[list[Shown]],
) -> None:
    ask = Lookup()
    answers = await asyncio.gather(
        ask(Shown("broken", None)), ask(Shown("broken", None)), return_exceptions=True
    )

    assert [type(answer) for answer in answers] == [DatabaseError] * 2
    assert await ask(cookie("later")) is None


@pytest.mark.parametrize("shown", [cookie("impatient"), Shown("broken", None)])
async def test_who_goes_away_meanwhile_holds_up_nobody(
    looks: list[list[Shown]], shown: Shown
) -> None:
    ask = Lookup()
    impatient = asyncio.create_task(ask(shown))
    while ask._waiting or not impatient.cancelled():
        await asyncio.sleep(0)
        if not ask._waiting:  # it is being looked up now
            impatient.cancel()

    async with asyncio.timeout(DEADLINE):
        assert await ask(cookie("patient")) is None


@pytest.mark.parametrize("token", ["broken", "cut"])
async def test_a_door_without_a_database_says_so(looks: list[list[Shown]], token: str) -> None:
    said: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.disconnect"}

    async def send(message: Any) -> None:
        said.append(message)

    headers = [(b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "websocket", "headers": headers, "subprotocols": ["maru.v1"]}
    await Admission(None)(scope, receive, send)

    assert [message.get("status") for message in said] == [503, None]
    assert b'"unavailable"' in said[1]["body"]


def test_end_of_many_is_found_by_three_queries() -> None:
    people = [make_user(f"P{number}") for number in range(5)]
    joined = {Credential(user.pk, session_key=session_of(user)): {uuid4()} for user in people}
    gone = Credential(people[0].pk, token_id=uuid4())

    with CaptureQueriesContext(connection) as queries:
        ended = those_that_ended({**joined, gone: set()})

    assert ended == {gone}
    assert len(queries) == 3
