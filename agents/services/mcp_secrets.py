"""The secrets of MCP servers: headers, tokens and clients, checked when entered, and encrypted."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from agents.models import McpAuth, McpServer
from agents.provider_keys import KeyUnreadable, decrypt_headers, encrypt
from agents.services.validation import clean_text, reject

MAX_HEADERS: Final = 10
MAX_HEADER_LENGTH: Final = 2_000

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110 §5.1
_RESERVED: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept"}
    | {"accept-encoding", "upgrade", "te", "trailer", "cookie", "proxy-authorization"}
    | {"mcp-session-id", "mcp-protocol-version", "last-event-id"}
)


def stored_headers(server: McpServer) -> dict[str, str]:
    """Return the stored headers, decrypted; raise KeyUnreadable."""
    return decrypt_headers(server.headers_encrypted)


def header_names(server: McpServer) -> list[str]:
    """Return the names of the stored headers; none if they cannot be read."""
    try:
        return sorted(stored_headers(server))
    except KeyUnreadable:
        return []


def set_headers(server: McpServer, headers: Mapping[str, str] | None, token: str | None) -> None:
    """Replace the headers, the token, or both; keep what is not given."""
    try:
        stored = stored_headers(server)
    except KeyUnreadable:
        stored = {}
    kept_token = stored.pop("Authorization", "") if server.auth == McpAuth.BEARER else ""
    new = validate_headers(stored if headers is None else headers, server.auth, token or "")
    if token is None and kept_token:
        new["Authorization"] = kept_token
    server.headers_encrypted = encrypt_headers(new)


def validate_headers(headers: Mapping[str, str], auth: str, token: str) -> dict[str, str]:
    """Return the headers to send; raise Invalid for those that HTTP or the SDK sets."""
    if len(headers) > MAX_HEADERS:
        reject("headers", _("Enter at most 10 headers."))
    valid: dict[str, str] = {}
    for name, value in headers.items():
        reserved = name.lower() in _RESERVED or (auth != "none" and name.lower() == "authorization")
        if not _HEADER_NAME.fullmatch(name) or reserved or not _is_value(value):
            reject("headers", _("This is not a header that can be sent to a server."))
        valid[name] = value
    token = clean_text(token)
    if token and auth == McpAuth.BEARER:
        if not _is_value(token) or " " in token:
            reject("token", _("This is not a valid token: it has spaces or other characters."))
        valid["Authorization"] = f"Bearer {token}"
    return valid


def _is_value(text: str) -> bool:
    """Return True for the value of a header (RFC 9110 §5.5), in ASCII."""
    return (
        0 < len(text) <= MAX_HEADER_LENGTH
        and text.isascii()
        and text.isprintable()
        and text == text.strip()
    )


def entered_client(auth: str, client_id: str, client_secret: str) -> dict[str, Any]:
    """Return the client that the admin has registered at the authorization server, if any."""
    client_id, client_secret = clean_text(client_id), clean_text(client_secret)
    if auth != McpAuth.OAUTH or not client_id:
        return {}
    if len(client_id) > MAX_HEADER_LENGTH or len(client_secret) > MAX_HEADER_LENGTH:
        reject("client_id", _("This is too long."))
    secret = encrypt(client_secret) if client_secret else ""
    return {"client_id": client_id, "client_secret_encrypted": secret, "entered": True}


def encrypt_headers(headers: Mapping[str, str]) -> str:
    return encrypt(json.dumps(headers)) if headers else ""
