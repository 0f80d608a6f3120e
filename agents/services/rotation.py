"""Encrypts every stored secret of this app with the newest secret key."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from django.db.models import Model

from agents.models import Connection, McpServer, McpSignIn
from agents.provider_keys import KeyUnreadable, decrypt, rotate

COLUMNS: Final[tuple[tuple[type[Model], str], ...]] = (
    (Connection, "key_encrypted"),
    (McpServer, "headers_encrypted"),
    (McpSignIn, "tokens_encrypted"),
)
CLIENT_SECRET: Final = "client_secret_encrypted"  # noqa: S105 - the name of a key in a JSON column


def rotate_keys() -> int:
    """Encrypt every stored secret with the newest secret key; return their number.

    Unreadable secrets do not change: see `find_unreadable_keys`.
    """
    rotated = 0
    for model, column in COLUMNS:
        for pk, stored in _stored(model, column):
            with suppress(KeyUnreadable):
                # The filter on the old value preserves a secret that is entered at the same time.
                # That secret is already encrypted with the newest secret key.
                unchanged = model._default_manager.filter(pk=pk, **{column: stored})  # noqa: SLF001
                rotated += unchanged.update(**{column: rotate(stored)})
    for pk, oauth in _clients():
        with suppress(KeyUnreadable):
            new = oauth | {CLIENT_SECRET: rotate(oauth[CLIENT_SECRET])}
            rotated += McpServer.objects.filter(pk=pk, oauth=oauth).update(oauth=new)
    return rotated


def find_unreadable_keys() -> list[UUID]:
    """Return the connections and MCP servers with a secret that this process cannot decrypt."""
    unreadable: dict[UUID, None] = {}
    for pk, stored in _stored(Connection, "key_encrypted"):
        _note(unreadable, pk, stored)
    for pk, stored in _stored(McpServer, "headers_encrypted"):
        _note(unreadable, pk, stored)
    for pk, oauth in _clients():
        _note(unreadable, pk, oauth[CLIENT_SECRET])
    for server, stored in McpSignIn.objects.order_by("pk").values_list(
        "server", "tokens_encrypted"
    ):
        _note(unreadable, server, stored)
    return list(unreadable)


def _note(unreadable: dict[UUID, None], pk: UUID, stored: str) -> None:
    try:
        decrypt(stored)
    except KeyUnreadable:
        unreadable[pk] = None


def _stored(model: type[Model], column: str) -> Iterator[tuple[Any, str]]:
    rows = model._default_manager.exclude(**{column: ""}).order_by("pk")  # noqa: SLF001
    return rows.values_list("pk", column).iterator()


def _clients() -> Iterator[tuple[UUID, dict[str, Any]]]:
    """Yield the servers with a stored secret of a client."""
    for pk, oauth in McpServer.objects.order_by("pk").values_list("pk", "oauth").iterator():
        if oauth.get(CLIENT_SECRET):
            yield pk, oauth
