"""Requests for each page and each REST operation, with the ids that they contain.

The pages and operations are enumerated from the code: `test_matrix` fails for one that is not
listed here, and for a stale line. A new endpoint is added with the ids that its body may contain.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import User
from maru.web.api import api
from tests.rooms.acting import ARGUMENTS_SHA256
from tests.security.principals import (
    EMOJI,
    Ids,
    Principal,
)

Response = Any  # of a test client: its type is in the stubs only

# Path parameter → kind of object.
PARAMETERS = {
    "team_id": "team",
    "room_id": "room",
    "user_id": "member",
    "member_id": "member",
    "persona_id": "persona",
    "connection_id": "connection",
    "server_id": "server",
    "message_id": "message",
    "run_id": "run",
    "question_id": "question",
    "round_id": "round",
    "call_id": "call",
    "approval_id": "call",
    "invitation_id": "invitation",
    "token_id": "token",
    "tool_id": "tool",
    "number": "number",
    "emoji": "emoji",
}
FREE = {"token", "language"}  # parameters that are not ids
KINDS_IN_ROOMS = {"room", "message", "run", "round", "question", "call"}

# Page → the form that it sends. Ids are written as their kind, in braces.
PAGES: dict[str, dict[str, str]] = {
    "rooms:people": {},
    "rooms:arrive": {},
    "rooms:direct": {"users": "{member}", "personas": "{persona}"},
    "rooms:find_direct": {},
    "rooms:find_direct_personas": {},
    "rooms:person": {},
    "rooms:persona_card": {},
    "rooms:row": {},
    "rooms:place": {"muted": "yes"},
    "rooms:invite_people": {"role": "guest", "days": "7", "max_uses": "1", "rooms": "{room}"},
    "rooms:find_rooms_to_name": {},
    "rooms:dismiss_welcome": {},
    "rooms:find_people_of_new_room": {},
    "rooms:find_personas_of_new_room": {},
    "rooms:find_people": {},
    "rooms:find_members": {},
    "rooms:find_personas": {},
    "rooms:create": {"name": "x", "privacy": "private", "personas": "{persona}"},
    "rooms:room": {},
    "rooms:message": {},
    "rooms:history": {},
    "rooms:post": {"text": "hi", "client_id": str(uuid4())},
    "rooms:thread": {},
    "rooms:thread_data": {},
    "rooms:follow": {"on": "yes"},
    "rooms:threads": {},
    "rooms:join": {},
    "rooms:leave": {},
    "rooms:hand_over": {"successor": "{member}"},
    "rooms:invite": {},
    "rooms:archive": {},
    "rooms:restore": {},
    "rooms:delete": {},
    "rooms:settings": {"name": "x", "privacy": "private", "answer_policy": "off"},
    "rooms:add_person": {"person": "{member}", "role": "member"},
    "rooms:set_role": {"role": "owner"},
    "rooms:remove_person": {},
    "rooms:add_persona": {"persona": "{persona}"},
    "rooms:remove_persona": {},
    "rooms:mute_persona": {"muted": "on"},
    "rooms:add_to_rooms": {"room": "{room}"},
    "rooms:continue": {},
    "rooms:persona_votes": {},
    "rooms:decide": {"decision": "allow", "arguments_sha256": "0" * 64},
    "rooms:answer_question": {"text": "yes"},
    "rooms:close_question": {},
    "rooms:cancel_round": {},
    "rooms:skip_step": {},
    "rooms:cancel": {},
    "rooms:retry": {},
    "rooms:run": {},
    "rooms:summary": {},
    "agents:connections": {},
    "agents:connection_create": {"name": "x", "kind": "demo"},
    "agents:connection_try": {"kind": "demo"},
    "agents:connection": {"name": "x"},
    "agents:connection_check": {},
    "agents:connection_delete": {},
    "agents:mcp_servers": {},
    "agents:mcp_create": {
        "name": "x",
        "url": "https://api.example.com/mcp",
        "auth": "oauth",
    },
    "agents:mcp_try": {"url": "https://api.example.com/mcp", "auth": "oauth"},
    "agents:mcp_server": {"name": "x", "url": "https://api.example.com/mcp", "auth": "oauth"},
    "agents:mcp_check": {},
    "agents:mcp_refresh": {},
    "agents:mcp_delete": {},
    "agents:mcp_tool": {"reads_only": "on"},
    "agents:mcp_sign_in": {},
    "agents:mcp_sign_out": {},
    "agents:personas": {},
    "agents:persona_create": {"name": "x"},
    "agents:persona_import": {"agents": "x"},
    "agents:persona": {"name": "x"},
    "agents:persona_grants": {},
    "agents:connect_model": {"model": "x"},
    "agents:persona_restore": {},
    "agents:persona_switch": {"enabled": "off"},
    "agents:persona_delete": {},
    "accounts:token_revoke": {},
    "accounts:team": {"name": "x"},
    "accounts:team_mfa": {"required": "yes"},
    "accounts:audit": {},
    "accounts:audit_export": {"format": "csv"},
    "accounts:team_delete": {"name": "x"},
    "accounts:team_deleted": {},
    "accounts:people": {},
    "accounts:find_people": {},
    "accounts:member": {},
    "accounts:set_role": {"role": "guest"},
    "accounts:suspend": {},
    "accounts:restore": {},
    "accounts:hand_over": {},
    "accounts:remove": {},
    "accounts:invitation_revoke": {},
}
# Pages whose URL has no id: public pages and pages of the user.
WITHOUT_IDS = {
    *("rooms:home", "rooms:list", "accounts:profile", "accounts:tokens", "accounts:invitation"),
    *("accounts:invitation_link", "setup", "set_language"),
    *("agents:mcp_sign_ins", "agents:mcp_callback"),
    *("healthz", "readyz", "metrics"),
}
# Routes of third-party apps (see test_matrix_other_routes) and of the API (see below).
OTHER_ROUTES = ("accounts/", "admin/", "api/")

# REST operation → a valid body. Ids are written as their kind, in braces.
BODIES: dict[str, dict[str, Any]] = {
    "PATCH /me": {"name": "x"},
    "POST /teams": {"name": "x"},
    "PATCH /teams/{team_id}": {"name": "x"},
    "PATCH /teams/{team_id}/members/{member_id}": {"role": "guest"},
    "POST /teams/{team_id}/invitations": {"role": "guest", "rooms": ["{room}"]},
    "POST /teams/{team_id}/delete": {"name": "Team"},
    "PUT /teams/{team_id}/owner": {"user": "{member}"},
    "POST /invitations/accept": {"token": "none"},
    "POST /teams/{team_id}/connections": {"name": "x", "kind": "demo"},
    "PATCH /teams/{team_id}/connections/{connection_id}": {"name": "x"},
    "POST /teams/{team_id}/mcp": {
        "name": "x",
        "url": "https://api.example.com/mcp",
        "auth": "oauth",
    },
    "PATCH /teams/{team_id}/mcp/{server_id}": {"name": "x"},
    "PATCH /teams/{team_id}/tools/{tool_id}": {"changes": True},
    "POST /teams/{team_id}/tools/{tool_id}/approve": {"sha256": "0" * 64},
    "POST /teams/{team_id}/personas": {
        "name": "x",
        "role": "x",
        "goal": "x",
        "connection": "{connection}",
        "model": "demo",
    },
    "POST /teams/{team_id}/personas/import": {
        "agents": "x: {role: x, goal: x}",
        "connection": "{connection}",
    },
    "PATCH /personas/{persona_id}": {"connection": "{connection}"},
    "PATCH /messages/{message_id}": {"text": "x"},
    "POST /me/tokens": {"name": "x", "team": "{team}"},
    "PUT /personas/{persona_id}/grants": {"grants": [{"user": "{member}", "rights": ["use"]}]},
    "PUT /personas/{persona_id}/tools": {"tools": [{"tool": "{tool}", "policy": "ask"}]},
    "PUT /personas/{persona_id}/rooms": {"rooms": ["{room}"]},
    "POST /teams/{team_id}/rooms": {
        "name": "x",
        "personas": ["{persona}"],
        "default_persona": "{persona}",
        "lead": "{persona}",
    },
    "POST /teams/{team_id}/direct": {"users": ["{member}"], "personas": ["{persona}"]},
    "PATCH /rooms/{room_id}": {"default_persona": "{persona}", "lead": "{persona}"},
    "PUT /rooms/{room_id}/members/{member_id}": {"role": "member"},
    "PUT /rooms/{room_id}/personas/{persona_id}": {"muted": True},
    "PUT /rooms/{room_id}/read": {"seq": 0},
    "PATCH /rooms/{room_id}/place": {"muted": True},
    "PUT /messages/{message_id}/vote": {"value": 0},
    "POST /runs/{run_id}/steer": {"text": "shorter"},
    "POST /questions/{question_id}/answer": {"text": "yes"},
    "POST /approvals/{approval_id}/decide": {
        "decision": "allow",
        "arguments_sha256": ARGUMENTS_SHA256,
    },
    "POST /rooms/{room_id}/messages": {
        "text": "hi",
        "reply_to": "{message}",
        "personas": ["{persona}"],
        "led_by": "{persona}",
    },
}
# REST operations without a body.
BODILESS = {
    "GET /teams",
    "GET /teams/{team_id}",
    "POST /teams/{team_id}/restore",
    "GET /teams/{team_id}/members",
    "DELETE /teams/{team_id}/members/{member_id}",
    "GET /teams/{team_id}/invitations",
    "DELETE /teams/{team_id}/invitations/{invitation_id}",
    "GET /teams/{team_id}/connections",
    "GET /teams/{team_id}/connections/{connection_id}",
    "DELETE /teams/{team_id}/connections/{connection_id}",
    "POST /teams/{team_id}/connections/{connection_id}/check",
    "GET /teams/{team_id}/mcp",
    "GET /teams/{team_id}/mcp/{server_id}",
    "DELETE /teams/{team_id}/mcp/{server_id}",
    "POST /teams/{team_id}/mcp/{server_id}/check",
    "POST /teams/{team_id}/mcp/{server_id}/refresh",
    "GET /teams/{team_id}/personas",
    "GET /personas/{persona_id}",
    "DELETE /personas/{persona_id}",
    "GET /personas/{persona_id}/versions",
    "POST /personas/{persona_id}/versions/{number}/restore",
    "DELETE /messages/{message_id}",
    "PUT /messages/{message_id}/reactions/{emoji}",
    "POST /messages/{message_id}/continue",
    "DELETE /messages/{message_id}/reactions/{emoji}",
    "GET /messages/{message_id}/follow",
    "PUT /messages/{message_id}/follow",
    "DELETE /messages/{message_id}/follow",
    "GET /teams/{team_id}/threads",
    "GET /rooms/{room_id}/events",
    "GET /rooms/{room_id}/stream",
    "GET /me",
    "GET /me/tokens",
    "DELETE /me/tokens/{token_id}",
    "GET /personas/{persona_id}/grants",
    "GET /personas/{persona_id}/rooms",
    "GET /personas/{persona_id}/tools",
    "GET /teams/{team_id}/tools",
    "GET /wire.json",
    "GET /teams/{team_id}/audit",
    "GET /teams/{team_id}/rooms",
    "GET /rooms/{room_id}",
    "DELETE /rooms/{room_id}",
    "GET /rooms/{room_id}/members",
    "DELETE /rooms/{room_id}/members/{member_id}",
    "DELETE /rooms/{room_id}/personas/{persona_id}",
    "GET /rooms/{room_id}/messages",
    "GET /rooms/{room_id}/pins",
    "GET /rooms/{room_id}/place",
    "GET /rooms/{room_id}/votes",
    "GET /personas/{persona_id}/votes",
    "PUT /messages/{message_id}/pin",
    "DELETE /messages/{message_id}/pin",
    "GET /messages/{message_id}",
    "GET /questions",
    "GET /questions/{question_id}",
    "POST /questions/{question_id}/close",
    "GET /runs/{run_id}",
    "GET /runs/{run_id}/prompt",
    "GET /rooms/{room_id}/summary",
    "POST /runs/{run_id}/cancel",
    "POST /runs/{run_id}/retry",
    "GET /rounds/{round_id}",
    "POST /rounds/{round_id}/cancel",
    "POST /rounds/{round_id}/skip",
    "GET /runs/{run_id}/calls",
    "POST /runs/{run_id}/calls/{call_id}/show",
    "GET /approvals",
    "GET /approvals/{approval_id}",
}
# REST operations that need no credentials.
PUBLIC = {"GET /wire.json"}
# Tables that a refused request may write: sessions and the audit log.
IGNORED_TABLES = ("django_session", "accounts_auditentry")
# Fields that no body may set unless the schema of the operation has them.
PROTECTED = {
    "id": "{room}",
    "team_id": "{team}",
    "owner": "{member}",
    "user": "{member}",
    "role": "owner",
    "is_staff": True,
    "is_superuser": True,
    "is_active": True,
    "created_at": "2020-01-01T00:00:00Z",
    "seq": 1,
    "deleted_at": None,
    "suspended_at": None,
    "budget": 10**9,
}


def pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the path of each page, with its parameters in braces."""
    for route, name in walk(get_resolver().url_patterns, "", ""):
        if not route.startswith(OTHER_ROUTES):
            yield name or route, "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)


def walk(patterns: Any, prefix: str, namespace: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from walk(pattern.url_patterns, route, inner)
        elif isinstance(pattern, URLPattern):
            yield route, namespace + pattern.name if pattern.name else ""


def operations() -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield method and path of each REST operation, and the properties of its body or None."""
    whole = api.get_openapi_schema()
    for path, methods in whole["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path.removeprefix('/api/v1')}"
            body = operation.get("requestBody")
            if body is None:
                yield name, None
                continue
            shape = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            yield name, whole["components"]["schemas"][shape]["properties"]


def kinds_in(path: str) -> dict[str, str]:
    """Return the parameters of a path and the kind of object of each."""
    found = re.findall(r"{(\w+)}", path)
    return {each: PARAMETERS[each] for each in found if each not in FREE}


def filled(template: Any, ids: Ids) -> Any:
    """Return a body or a form with the ids filled in."""
    text = json.dumps(template)
    return json.loads(re.sub(r"{(\w+)}", lambda found: ids[found[1]], text))


def missing_ids() -> Ids:
    """Return ids of objects that do not exist, except for version numbers and emoji."""
    kinds = {*PARAMETERS.values()} - {"number", "emoji"}
    return {**{kind: str(uuid4()) for kind in kinds}, "number": "1", "emoji": EMOJI}


def masked(answer: Response, *id_sets: Ids) -> tuple[int, str, str]:
    """Return status, type and text of a response without the sent ids, CSRF tokens and nonces."""
    text = f"{answer.get('Location', '')}\n{answer.content.decode()}"
    for ids in id_sets:
        for value in ids.values():
            if len(value) > 10:
                text = text.replace(value, "ID")
    text = re.sub(r'csrfmiddlewaretoken" value="\w+"', "", text)
    text = re.sub(r'nonce="[^"]+"', "", text)
    return answer.status_code, answer.get("Content-Type", ""), text


def send(client: Client, method: str, path: str, **data: Any) -> tuple[Response, list[str]]:
    """Send a request; return the response and its writes, except to IGNORED_TABLES."""
    writes: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001  # Django passes it by position
        result = execute(sql, params, many, context)
        changes = sql.startswith(("INSERT", "UPDATE", "DELETE")) and context["cursor"].rowcount
        if changes and not any(table in sql for table in IGNORED_TABLES):
            writes.append(sql)
        return result

    with connection.execute_wrapper(note):
        answer = client.generic(method, path, **data)
    return answer, writes


def browser(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def send_form(client: Client, method: str, path: str, form: dict[str, str]) -> Any:
    if method == "GET":
        return send(client, method, path)
    return send(
        client,
        method,
        path,
        data="&".join(f"{key}={value}" for key, value in form.items()),
        content_type="application/x-www-form-urlencoded",
    )


def send_rest(token: str | None, name: str, ids: Ids, path_ids: Ids | None = None) -> Any:
    method, _, path = name.partition(" ")
    where = "/api/v1" + re.sub(
        r"{(\w+)}", lambda found: (path_ids or ids)[PARAMETERS[found[1]]], path
    )
    headers = {"headers": {"Authorization": f"Bearer {token}"}} if token else {}
    body = json.dumps(filled(BODIES.get(name, {}), ids))
    return send(Client(), method, where, data=body, content_type="application/json", **headers)


def is_foreign(principal: Principal, kinds: dict[str, str]) -> bool:
    """Return True if the principal has no access to the objects of a path."""
    return not principal.insider or not KINDS_IN_ROOMS.isdisjoint(kinds.values())


def check_same_response(real: Any, unknown: Any, ids: Ids, missing: Ids, case: object) -> int:
    """Assert that a foreign and a missing object give equal responses; return the status."""
    (foreign, foreign_writes), (absent, absent_writes) = real, unknown
    assert masked(foreign, ids, missing) == masked(absent, ids, missing), case
    assert (foreign_writes, absent_writes) == ([], []), case
    return int(foreign.status_code)
