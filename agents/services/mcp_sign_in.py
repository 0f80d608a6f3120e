"""Services for sign-ins at MCP servers (OAuth): for a whole team, or of one person.

The code is exchanged here, in the web process. Between the two halves of a sign-in the browser is
at the authorization server: what the second half needs is in the session of the user, so a code
that another person has got is of no use in it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

import httpx
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts import rate_limits
from accounts.audit.log import audit
from accounts.database import release_connection
from accounts.errors import Invalid
from accounts.models import User
from accounts.permissions import CREATE_ROOM, VIEW, lock_team, team_permissions
from agents.mcp import oauth, tokens
from agents.mcp.oauth import Client, Metadata, OAuthFailed
from agents.models import McpAuth, McpServer, McpSignIn
from agents.permissions import MANAGE, access_mcp_server
from agents.provider_keys import KeyUnreadable

R = TypeVar("R")
SECONDS: Final = 30.0
"""For all requests of one half of a sign-in: a server may be slow to answer each of them."""
SignInState = Literal["none", "signed_in", "ended"]
"""`ended` if the server accepts the tokens no longer, so that a person has to sign in again."""

SENTENCES: Final[Mapping[str, str | Promise]] = {
    "not_allowed": _("The sign-in of this server uses an address that is not allowed."),
    "unreachable": _("The sign-in of this server cannot be reached. Try again later."),
    "no_registration": _(
        "This server registers no clients. Ask a team admin to enter a client ID for it."
    ),
    "registration_refused": _("The server refused to register this installation as a client."),
    "invalid_client": _("The server does not know this client. Check the client ID."),
    "invalid_grant": _("The sign-in took too long, or was used before. Try again."),
    "moved": _("The server was changed during the sign-in. Try again."),
}
FAILED: Final = _("The sign-in of this server does not work as it should. Tell its operator.")


@dataclass(frozen=True, slots=True)
class SignInStart:
    """The page of the authorization server, its host, and what the session keeps, by the state."""

    url: str
    host: str
    state: str
    kept: dict[str, str]


def access_sign_in(user: User, server_id: UUID) -> McpServer:
    """Return a server at which `user` may sign in; raise NotFound or Forbidden.

    A personal server is for the members of the team except guests, who do not see its tools
    either; another one is for those who manage it.
    """
    server = access_mcp_server(user, server_id, CREATE_ROOM)
    return server if server.personal else access_mcp_server(user, server_id, MANAGE)


def may_sign_in(user: User, server: McpServer) -> bool:
    """Return True if `access_sign_in` returns the server to this user."""
    needed = CREATE_ROOM if server.personal else MANAGE
    return needed in team_permissions(user, server.team)


def access_sign_out(user: User, server_id: UUID) -> McpServer:
    """Return a server like `access_sign_in`, or one at which the user has a sign-in of their own.

    A member who has become a guest can remove it, and do nothing else with it.
    """
    server = access_mcp_server(user, server_id, VIEW)
    if server.personal and server.sign_ins.filter(user=user).exists():
        return server
    return access_sign_in(user, server_id)


def redirect_uri() -> str:
    """Return the address to which authorization servers send a browser back."""
    return settings.PUBLIC_URL.rstrip("/") + reverse("agents:mcp_callback")


def start_sign_in(*, user: User, server_id: UUID) -> SignInStart:
    """Prepare a sign-in; raise Invalid with a sentence, RateLimited."""
    server = access_sign_in(user, server_id)
    rate_limits.consume(rate_limits.CHECK, user, team_id=server.team_id)
    if server.auth != McpAuth.OAUTH:
        raise Invalid(_("This server needs no sign-in."))
    release_connection()
    metadata, client = _run(_prepare(server))
    with transaction.atomic():
        locked = _lock(user, server)
        if locked.url != server.url or locked.oauth != server.oauth:
            raise Invalid(SENTENCES["moved"])
        entered = {"entered": True} if server.oauth.get("entered") else {}
        registered = {"redirect_uri": redirect_uri()}
        locked.oauth = oauth.store_client(metadata, client) | entered | registered
        if locked.oauth.get("issuer") != server.oauth.get("issuer"):
            locked.sign_ins.all().delete()  # their tokens belong to another issuer
        locked.save(update_fields=["oauth"])
    state, verifier = oauth.make_verifier(), oauth.make_verifier()
    url = oauth.authorization_url(
        metadata, client, redirect_uri=redirect_uri(), state=state, verifier=verifier
    )
    kept = {"server": str(server.pk), "verifier": verifier, "issuer": metadata.issuer}
    host = httpx.URL(url).netloc.decode("ascii")  # a name in other letters can look like another
    return SignInStart(url=url, host=host, state=state, kept=kept)


def finish_sign_in(
    *, user: User, kept: Mapping[str, str], code: str, issuer: str | None
) -> McpServer:
    """Exchange the code of a sign-in that `user` has started, and store the tokens.

    Raise Invalid with a sentence. `issuer` is what the answer names (RFC 9207), or None.
    """
    server = access_sign_in(user, UUID(kept["server"]))
    expected = server.oauth.get("issuer")
    if expected != kept["issuer"]:
        raise Invalid(SENTENCES["moved"])
    if issuer != expected and (issuer is not None or server.oauth.get("names_issuer")):
        raise Invalid(FAILED)
    try:
        client = oauth.stored_client(server.oauth)
    except (KeyError, KeyUnreadable):
        raise Invalid(SENTENCES["moved"]) from None
    release_connection()
    found = _run(
        oauth.exchange(
            client,
            code=code,
            verifier=kept["verifier"],
            redirect_uri=redirect_uri(),
            team=server.team_id,
        )
    )
    with transaction.atomic():
        locked = _lock(user, server)
        if locked.url != server.url or locked.oauth != server.oauth:
            raise Invalid(SENTENCES["moved"])
        tokens.store(locked, user if locked.personal else None, found)
        audit(user, "mcp.signed_in", locked.pk, team_id=locked.team_id)
    return locked


@transaction.atomic
def sign_out(*, user: User, server_id: UUID) -> None:
    """Delete the tokens of the user, or those of the team, at a server."""
    server = _lock(user, access_sign_out(user, server_id), access_sign_out)
    McpSignIn.objects.filter(server=server, user=user if server.personal else None).delete()
    audit(user, "mcp.signed_out", server.pk, team_id=server.team_id)


def sign_in_state(user: User, server: McpServer) -> SignInState:
    """Return the state of the tokens that a run of `user` would use."""
    rows = server.sign_ins.filter(user=user if server.personal else None)
    return state_of(rows.values_list("has_ended", flat=True).first())


def state_of(has_ended: bool | None) -> SignInState:  # noqa: FBT001 - the value of a column
    """Return the state of a sign-in from its column, or from None if there is none."""
    if has_ended is None:
        return "none"
    return "ended" if has_ended else "signed_in"


async def _prepare(server: McpServer) -> tuple[Metadata, Client]:
    """Return the metadata, and the client that is stored for this issuer, or a new one."""
    team = server.team_id
    challenge = await oauth.read_challenge(server.url, team)
    metadata = await oauth.discover(server.url, challenge, team)
    stored = server.oauth
    same_issuer = stored.get("issuer", metadata.issuer) == metadata.issuer
    same_address = stored.get("redirect_uri", redirect_uri()) == redirect_uri()
    if "client_id" in stored and same_issuer and (stored.get("entered") or same_address):
        current = {
            **stored,
            "token_endpoint": metadata.token_endpoint,
            "resource": metadata.resource,
        }
        return metadata, oauth.stored_client(current)
    return metadata, await oauth.register(metadata, redirect_uri(), team)


def _lock(
    user: User,
    server: McpServer,
    access: Callable[[User, UUID], McpServer] = access_sign_in,
) -> McpServer:
    """Lock the team and the server, and ask for the access again."""
    lock_team(user, server.team_id, VIEW)
    list(McpServer.objects.select_for_update(no_key=True).filter(pk=server.pk).values_list("pk"))
    return access(user, server.pk)


def _run(steps: Coroutine[Any, Any, R]) -> R:
    """Return the result of requests, within SECONDS; raise Invalid with a sentence."""

    async def in_time() -> R:
        async with asyncio.timeout(SECONDS):
            return await steps

    try:
        return asyncio.run(in_time())
    except TimeoutError:
        raise Invalid(SENTENCES["unreachable"]) from None
    except OAuthFailed as failure:
        raise Invalid(SENTENCES.get(failure.code, FAILED)) from None
    except KeyUnreadable:
        raise Invalid(SENTENCES["invalid_client"]) from None
