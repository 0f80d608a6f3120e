"""Batched authentication gives each request the same identity as a request on its own."""

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
from rooms.socket.authentication import (
    Authenticator,
    Credentials,
    Identity,
    authenticate_many,
    revoked_credentials,
)
from rooms.socket.batches import BATCH_SIZE
from rooms.socket.handshake import Handshake
from tests.deadlines import DEADLINE
from tests.rooms.conftest import make_user

pytestmark = pytest.mark.django_db

BACKEND = settings.AUTHENTICATION_BACKENDS[0]


def make_session(user: User | None, **overrides: Any) -> str:
    """Store a session in which the user is signed in; return its key."""
    store = SessionStore()
    if user is not None:
        store[SESSION_KEY] = str(user.pk)
        store[BACKEND_SESSION_KEY] = overrides.get("backend", BACKEND)
        store[HASH_SESSION_KEY] = overrides.get("hash", user.get_session_auth_hash())
    store.set_expiry(overrides.get("until", timezone.now() + timedelta(hours=1)))
    store.create()
    assert store.session_key
    return store.session_key


def cookie(key: str) -> Credentials:
    return Credentials(None, key)


def users(identities: Sequence[Identity | None]) -> list[User | None]:
    return [each.user if each else None for each in identities]


def test_tokens_take_precedence_over_session_cookies() -> None:
    first, second = make_user("First"), make_user("Second")
    key, (token, secret) = make_session(first), create_token(user=second, name="script")

    identities = authenticate_many(
        [Credentials(secret, None), cookie(key), Credentials(None, None), Credentials(secret, key)]
    )

    by_token, by_session = Credential(second.pk, token.pk), Credential(first.pk, session_key=key)
    assert [each.credential if each else None for each in identities] == [
        by_token,
        by_session,
        None,
        by_token,
    ]


def test_invalid_sessions_authenticate_no_user() -> None:
    user, inactive = make_user("User"), make_user("Inactive")
    keys = [
        make_session(None),
        make_session(user, hash="of an older password"),
        make_session(user, hash=None),
        make_session(user, backend="somewhere.Else"),
        make_session(user, until=timezone.now() - timedelta(seconds=1)),
        make_session(inactive),
        "never0given0out0000000000000000",
        "",
    ]
    User.objects.filter(pk=inactive.pk).update(is_active=False)
    valid = make_session(user)

    identities = authenticate_many([cookie(key) for key in [*keys, valid]])

    assert users(identities) == [None] * len(keys) + [user]


@pytest.mark.parametrize("malformed", ["\0", "a\0b", "é" * 40, "' OR 1=1"])
def test_malformed_cookie_does_not_affect_the_rest_of_the_batch(malformed: str) -> None:
    user = make_user("User")
    key = make_session(user)

    with CaptureQueriesContext(connection) as queries:  # PostgreSQL would raise for a NUL
        assert authenticate_many([cookie(malformed)]) == [None]
    assert not queries
    assert users(authenticate_many([cookie(malformed), cookie(key)])) == [None, user]


def test_batch_of_sixty_takes_three_queries() -> None:
    sessions = [cookie(make_session(make_user(f"User{n}"))) for n in range(30)]
    bots = [make_user(f"Bot{n}") for n in range(30)]
    tokens = [Credentials(create_token(user=bot, name="b")[1], None) for bot in bots]

    with CaptureQueriesContext(connection) as queries:
        identities = authenticate_many([*sessions, *tokens])

    assert all(identities)
    assert len(queries) == 3


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[Credentials]]:
    """Record the batches; no credentials are valid, and two tokens make the query fail."""
    recorded: list[list[Credentials]] = []

    def authenticate(many: Sequence[Credentials]) -> list[None]:
        recorded.append(list(many))
        if any(each.token == "broken" for each in many):
            raise DatabaseError
        if any(each.token == "cut" for each in many):
            raise InterfaceError
        return [None] * len(many)

    monkeypatch.setattr(authentication, "authenticate_many", authenticate)
    return recorded


async def test_requests_during_a_query_form_the_next_batches(
    batches: list[list[Credentials]],
) -> None:
    authenticator = Authenticator()
    requests = [cookie(str(n)) for n in range(1 + 2 * BATCH_SIZE)]

    first = asyncio.create_task(authenticator.authenticate(requests[0]))
    await asyncio.sleep(0)
    await asyncio.gather(first, *map(authenticator.authenticate, requests[1:]))

    assert [len(each) for each in batches] == [1, BATCH_SIZE, BATCH_SIZE]
    assert [request for each in batches for request in each] == requests


async def test_every_request_of_a_failed_batch_raises_and_the_next_batch_succeeds(
    batches: list[list[Credentials]],
) -> None:
    authenticator = Authenticator()
    broken = Credentials("broken", None)
    results = await asyncio.gather(
        authenticator.authenticate(broken),
        authenticator.authenticate(broken),
        return_exceptions=True,
    )

    assert [type(result) for result in results] == [DatabaseError] * 2
    assert await authenticator.authenticate(cookie("later")) is None


@pytest.mark.parametrize("credentials", [cookie("cancelled"), Credentials("broken", None)])
async def test_cancelled_request_does_not_block_the_next(
    batches: list[list[Credentials]], credentials: Credentials
) -> None:
    authenticator = Authenticator()
    cancelled = asyncio.create_task(authenticator.authenticate(credentials))
    while authenticator._queue or not cancelled.cancelled():
        await asyncio.sleep(0)
        if not authenticator._queue:  # its batch is being queried
            cancelled.cancel()

    async with asyncio.timeout(DEADLINE):
        assert await authenticator.authenticate(cookie("next")) is None


@pytest.mark.parametrize("token", ["broken", "cut"])
async def test_handshake_without_a_database_answers_503(
    batches: list[list[Credentials]], token: str
) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {token}".encode())]
    scope = {
        "type": "websocket",
        "path": "/ws/",
        "headers": [*headers, (b"host", b"testserver")],
        "subprotocols": ["maru.v1"],
    }
    await Handshake(None)(scope, receive, send)

    assert [message.get("status") for message in sent] == [503, None]
    assert b'"unavailable"' in sent[1]["body"]


def test_checks_of_many_credentials_take_few_queries() -> None:
    people = [make_user(f"P{number}") for number in range(5)]
    joined = {Credential(user.pk, session_key=make_session(user)): {uuid4()} for user in people}
    deleted_token = Credential(people[0].pk, token_id=uuid4())

    with CaptureQueriesContext(connection) as queries_of_valid:
        none = revoked_credentials(joined)
    with CaptureQueriesContext(connection) as queries:
        revoked = revoked_credentials({**joined, deleted_token: set()})

    assert none == set()
    assert len(queries_of_valid) == 2  # users and sessions: no credential is a token
    assert revoked == {deleted_token}
    assert len(queries) <= 6
