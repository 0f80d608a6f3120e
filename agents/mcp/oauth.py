"""Sign-in at the authorization server of an MCP server (MCP specification, Authorization).

Discovery (RFC 9728, RFC 8414), registration of this installation as a client (RFC 7591), PKCE
(RFC 7636), the exchange of codes and the refresh of tokens (RFC 6749). Every address comes from a
server that may be hostile: each request passes the egress guard, follows no redirect, and is
bounded in time and size.
"""

import asyncio
import base64
import hashlib
import json as json_module
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import UUID

import httpx
from django.utils import timezone

from agents.egress import guard
from agents.egress.dns import HostUnknown
from agents.egress.proxy import open_transport
from agents.mcp import well_known
from agents.provider_keys import decrypt, encrypt

REQUEST_SECONDS: Final = 10.0
MAX_BYTES: Final = 256 * 1024
MAX_LENGTH: Final = 4_000
"""The longest token, client id or address that is accepted."""
PROTOCOL: Final = "2025-06-18"
_LATER: Final = frozenset({408, 425, 429})
"""The statuses below 500 of a request that may succeed later."""


class OAuthFailed(Exception):
    """A step of a sign-in failed. `code` is an error of RFC 6749 §5.2, or one of ours.

    `unreachable` says that a later attempt may succeed, `refused` that the server has named another
    error than those that have a code of their own.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a client needs to know of an authorization server and of the server it protects."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str
    resource: str
    scope: str
    names_issuer: bool
    """True if each answer names the issuer (RFC 9207)."""


@dataclass(frozen=True, slots=True)
class Client:
    """This installation as a client of an authorization server."""

    id: str
    token_endpoint: str
    resource: str
    secret: str = field(default="", repr=False)
    secret_in_header: bool = False


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a sign-in; `repr` shows none of them."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires_at: datetime | None


async def discover(url: str, challenge: str, team: UUID) -> Metadata:
    """Return the metadata for the MCP server at `url`, which has sent `challenge` with a 401."""
    described = await _first(well_known.resource_urls(url, challenge), team)
    issuer, resource, scopes = well_known.origin(url), url, None
    if described is not None:
        resource = _safe(_text(described, "resource") or url)
        if not well_known.covers(resource, url):
            raise OAuthFailed("wrong_resource")
        issuers = described.get("authorization_servers")
        if isinstance(issuers, list) and issuers and isinstance(issuers[0], str):
            issuer = _safe(issuers[0])
        scopes = described.get("scopes_supported")
    found = await _first(well_known.issuer_urls(issuer), team)
    if found is None:
        raise OAuthFailed("no_metadata")
    # RFC 8414 §3.3: an issuer that names another one could collect codes for it.
    if _text(found, "issuer").rstrip("/") != issuer.rstrip("/"):
        raise OAuthFailed("wrong_issuer")
    methods = found.get("code_challenge_methods_supported")
    if not isinstance(methods, list) or "S256" not in methods:
        raise OAuthFailed("no_pkce")
    return Metadata(
        issuer=issuer,
        authorization_endpoint=_endpoint(found, "authorization_endpoint"),
        token_endpoint=_endpoint(found, "token_endpoint"),
        registration_endpoint=_endpoint(found, "registration_endpoint", optional=True),
        resource=resource,
        scope=_scope(scopes),
        names_issuer=found.get("authorization_response_iss_parameter_supported") is True,
    )


async def read_challenge(url: str, team: UUID) -> str:
    """Return the WWW-Authenticate header of an MCP server that asks for a sign-in, or empty."""
    response = await _send(
        "GET", url, team, headers={"Accept": "text/event-stream"}, reads_body=False
    )
    return response.headers.get("www-authenticate", "") if response.status_code == 401 else ""


async def register(metadata: Metadata, redirect_uri: str, team: UUID) -> Client:
    """Register this installation as a public client (RFC 7591 §3)."""
    if not metadata.registration_endpoint:
        raise OAuthFailed("no_registration")
    wanted = {
        "client_name": "Maru",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }
    status, body = await _request("POST", metadata.registration_endpoint, team, json=wanted)
    if status not in (200, 201) or body is None or not _text(body, "client_id"):
        raise OAuthFailed("registration_refused")
    return Client(
        id=_text(body, "client_id"),
        secret=_text(body, "client_secret"),
        token_endpoint=metadata.token_endpoint,
        resource=metadata.resource,
        secret_in_header=_text(body, "token_endpoint_auth_method") == "client_secret_basic",
    )


def make_verifier() -> str:
    """Return a new code verifier (RFC 7636 §4.1), or a state (RFC 6749 §10.12)."""
    return secrets.token_urlsafe(48)


def authorization_url(
    metadata: Metadata, client: Client, *, redirect_uri: str, state: str, verifier: str
) -> str:
    """Return the page of the authorization server where a person signs in."""
    digest = hashlib.sha256(verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        "resource": metadata.resource,  # RFC 8707
    }
    if metadata.scope:
        query["scope"] = metadata.scope
    separator = "&" if "?" in metadata.authorization_endpoint else "?"
    return metadata.authorization_endpoint + separator + urlencode(query)


async def exchange(
    client: Client, *, code: str, verifier: str, redirect_uri: str, team: UUID
) -> Tokens:
    """Return the tokens for a code (RFC 6749 §4.1.3)."""
    return await _ask_for_tokens(
        client,
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        },
        team,
    )


async def refresh(client: Client, refresh_token: str, team: UUID) -> Tokens:
    """Return new tokens for a refresh token, which stays valid if there is no new one (§6)."""
    tokens = await _ask_for_tokens(
        client, {"grant_type": "refresh_token", "refresh_token": refresh_token}, team
    )
    return tokens if tokens.refresh else Tokens(tokens.access, refresh_token, tokens.expires_at)


def store_client(metadata: Metadata, client: Client) -> dict[str, Any]:
    """Return the value of `McpServer.oauth`; the secret is encrypted."""
    return {
        "issuer": metadata.issuer,
        "client_id": client.id,
        "client_secret_encrypted": encrypt(client.secret) if client.secret else "",
        "secret_in_header": client.secret_in_header,
        "token_endpoint": client.token_endpoint,
        "resource": client.resource,
        "names_issuer": metadata.names_issuer,
    }


def stored_client(stored: Mapping[str, Any]) -> Client:
    """Return the client of a server; raise KeyError if there is none, or KeyUnreadable."""
    secret = stored.get("client_secret_encrypted", "")
    return Client(
        id=stored["client_id"],
        secret=decrypt(secret) if secret else "",
        secret_in_header=stored.get("secret_in_header", False),
        token_endpoint=stored["token_endpoint"],
        resource=stored["resource"],
    )


async def _ask_for_tokens(client: Client, form: dict[str, str], team: UUID) -> Tokens:
    form |= {"resource": client.resource}
    headers = {}
    if client.secret and client.secret_in_header:
        pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        form["client_id"] = client.id
        if client.secret:
            form["client_secret"] = client.secret
    status, body = await _request("POST", client.token_endpoint, team, form=form, headers=headers)
    if status >= 500 or status in _LATER:
        raise OAuthFailed("unreachable")
    if body is None:
        raise OAuthFailed("unreadable")
    error = _text(body, "error")
    if status != 200 or error:  # some servers answer an error with the status 200
        raise OAuthFailed(error if error in {"invalid_grant", "invalid_client"} else "refused")
    access = _text(body, "access_token")
    if not access or not _is_header_value(access):
        raise OAuthFailed("unreadable")
    if _text(body, "token_type").lower() not in {"bearer", ""}:
        raise OAuthFailed("not_bearer")
    seconds = body.get("expires_in")
    has_end = isinstance(seconds, int | float) and 0 < seconds < 10 * 365 * 86_400
    expires_at = timezone.now() + timedelta(seconds=float(seconds or 0)) if has_end else None
    return Tokens(access, _text(body, "refresh_token"), expires_at)


async def _first(urls: list[str], team: UUID) -> dict[str, Any] | None:
    """Return the first JSON object at these addresses."""
    for url in urls:
        status, body = await _request("GET", url, team)
        if status == 200 and body is not None:
            return body
    return None


async def _request(
    method: str,
    url: str,
    team: UUID,
    *,
    form: Mapping[str, str] | None = None,
    json: Any = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, Any] | None]:
    """Return the status of a response, and its body if that is a JSON object."""
    response = await _send(method, url, team, headers=headers or {}, data=form, json=json)
    try:
        found = json_module.loads(response.content)
    except (ValueError, RecursionError):
        return response.status_code, None
    return response.status_code, found if isinstance(found, dict) else None


async def _send(
    method: str,
    url: str,
    team: UUID,
    *,
    headers: Mapping[str, str],
    reads_body: bool = True,
    **content: Any,
) -> httpx.Response:
    """Send one request, on a connection of its own; return the start of its response.

    Raise OAuthFailed for a refused address, and without a response in time.
    """
    sent = {"Accept": "application/json", "MCP-Protocol-Version": PROTOCOL, "User-Agent": "Maru"}
    sent |= {"Accept-Encoding": "identity", **headers}
    try:
        request = httpx.Request(method, _checked(url), headers=sent, **content)
        request.extensions["timeout"] = httpx.Timeout(REQUEST_SECONDS).as_dict()
        async with asyncio.timeout(REQUEST_SECONDS):
            pinned = await guard.apin_request(request, team)
            with open_transport() as transport:
                response = await transport.handle_async_request(pinned)
                body = await _read(response) if reads_body else b""
                return httpx.Response(
                    response.status_code, headers=_plain(response.headers), content=body
                )
    except guard.EgressRefused:
        raise OAuthFailed("not_allowed") from None
    except (HostUnknown, httpx.HTTPError, TimeoutError):
        raise OAuthFailed("unreachable") from None


async def _read(response: httpx.Response) -> bytes:
    """Return the body, or the first MAX_BYTES of it, which are no JSON then."""
    body = b""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    if "event-stream" in response.headers.get("content-type", ""):
        return body
    async for data in response.stream:
        body += data
        if len(body) > MAX_BYTES:
            break
    return body[:MAX_BYTES]


def _plain(headers: httpx.Headers) -> dict[str, str]:
    """Return the one header that is needed of a response."""
    name = "www-authenticate"
    return {name: headers[name]} if name in headers else {}


def _checked(url: str) -> httpx.URL:
    """Return an address that a secret may be sent to: https, unless the operator allows the host.

    Raise EgressRefused.
    """
    if len(url) > MAX_LENGTH or not url.isprintable() or "#" in url or "\\" in url or " " in url:
        raise guard.EgressRefused
    try:
        parsed = httpx.URL(url)
        has_host = bool(parsed.host)  # raises ValueError for a name that is no IDNA
    except (httpx.InvalidURL, ValueError):
        raise guard.EgressRefused from None
    if parsed.userinfo or not has_host:
        raise guard.EgressRefused
    if parsed.scheme != "https" and not guard.is_allowed_url(parsed):
        raise guard.EgressRefused
    return parsed


def _endpoint(found: Mapping[str, Any], name: str, *, optional: bool = False) -> str:
    url = _text(found, name)
    return "" if not url and optional else _safe(url)


def _safe(url: str) -> str:
    """Return an address of a server if it may be requested or shown."""
    try:
        _checked(url)
    except guard.EgressRefused:
        raise OAuthFailed("not_allowed") from None
    return url


def _scope(scopes: object) -> str:
    if not isinstance(scopes, list):
        return ""
    printable = (each for each in scopes[:50] if isinstance(each, str) and each.isprintable())
    return " ".join(printable)[:MAX_LENGTH]


def _text(found: Mapping[str, Any], name: str) -> str:
    """Return a text that can be stored and sent again: not one with NUL or a lone surrogate."""
    value = found.get(name)
    if not isinstance(value, str) or len(value) > MAX_LENGTH or not value.isprintable():
        return ""
    return value


def _is_header_value(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
