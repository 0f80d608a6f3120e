"""An authorization server, and an MCP server that it protects, on one loopback port."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

from starlette.types import Receive, Scope, Send

from tests.mcp.hostile import Exchange, Hostile, tool
from tests.mcp.servers import serve


@dataclass
class Protected(Hostile):
    """The server; its metadata and its answers can be changed by a test.

    `codes` are the authorizations that were given, `valid` the access tokens with the account of
    each, `refreshable` the refresh tokens, each good for one use. `refusal` is the answer to a code
    or a refresh token that is not good.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    resource_changes: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    valid: dict[str, str] = field(default_factory=dict)
    refreshable: dict[str, str] = field(default_factory=dict)
    registered: list[dict[str, Any]] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    expires_in: int = 3_600
    refusal: tuple[int, str] = (400, '{"error": "invalid_grant"}')
    redirect_token: str = ""
    client_id: str = ""
    accounts: list[str] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        return f"http://{self.address}"

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "registration_endpoint": f"{self.issuer}/register",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            **self.changes,
        }

    def resource(self) -> dict[str, Any]:
        return {
            "resource": self.url,
            "authorization_servers": [self.issuer],
            "scopes_supported": ["tools"],
            **self.resource_changes,
        }

    def authorize(self, url: str, account: str) -> dict[str, str]:
        """Sign `account` in on the page `url`; return the query of the answer."""
        query = dict(parse_qsl(urlsplit(url).query))
        code = uuid4().hex
        self.codes[code] = query | {"account": account}
        return {"code": code, "state": query["state"], "iss": self.issuer}

    def issue(self, form: dict[str, str]) -> dict[str, Any] | None:
        """Return tokens for a code or for a refresh token, once."""
        self.forms.append(form)
        if form["grant_type"] == "refresh_token":
            account = self.refreshable.pop(form["refresh_token"], None)
        else:
            query = self.codes.pop(form["code"], {})
            hashed = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(hashed).decode().rstrip("=")
            fits = query.get("code_challenge") == challenge
            fits = fits and query.get("redirect_uri") == form["redirect_uri"]
            account = query.get("account") if fits else None
        if account is None:
            return None
        access, refresh = f"access-{uuid4().hex}", f"refresh-{uuid4().hex}"
        self.valid[access], self.refreshable[refresh] = account, account
        return {
            "access_token": access,
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(self, scope, receive, send)
        path = scope["path"]
        if path == "/mcp":
            await self._serve_tools(exchange)
        elif path == "/.well-known/oauth-protected-resource/mcp":
            await _send_json(exchange, self.resource())
        elif path == "/.well-known/oauth-authorization-server":
            await _send_json(exchange, self.metadata())
        elif path == "/register":
            self.registered.append(json.loads(await exchange.body()))
            client_id = self.client_id or f"client-{len(self.registered)}"
            await _send_json(exchange, {"client_id": client_id}, 201)
        elif path == "/token" and self.redirect_token:
            await exchange.respond(307, "", {"location": self.redirect_token})
        elif path == "/token":
            found = self.issue(dict(parse_qsl((await exchange.body()).decode())))
            await exchange.respond(*((200, json.dumps(found)) if found else self.refusal))
        else:
            await exchange.respond(404, "")

    async def _serve_tools(self, exchange: Exchange) -> None:
        headers = dict(exchange.scope["headers"])
        token = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if token not in self.valid:
            where = f"{self.issuer}/.well-known/oauth-protected-resource/mcp"
            challenge = {"www-authenticate": f'Bearer resource_metadata="{where}"'}
            await exchange.respond(401, "", challenge)
            return
        self.accounts.append(self.valid[token])
        await exchange.answer()


async def _send_json(exchange: Exchange, body: dict[str, Any], status: int = 200) -> None:
    await exchange.respond(status, json.dumps(body), {"content-type": "application/json"})


@contextmanager
def run_protected() -> Iterator[Protected]:
    """Run a new server inside the context."""
    protected = Protected(tools=[tool("fine")])
    with serve(protected, protected):
        yield protected


def callback(query: dict[str, str]) -> str:
    """Return the path that a browser requests with the answer of the authorization server."""
    return "/mcp/callback/?" + urlencode(query)
