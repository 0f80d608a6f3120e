"""Every way in × everybody who has no right to what is behind it: the answer of what is not there.

The ways in are enumerated from the code. One that is not listed here fails, and so does a line here
that no way in has: whoever adds an endpoint says what its body may name.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.models import User
from maru.web.api import api
from tests.security.principals import (
    EMOJI,
    Ids,
    Principal,
    Tenant,
    make_principals,
    make_tenant,
    other_rooms,
)

pytestmark = pytest.mark.django_db

Answer = Any  # of a test client: the type of it is in the stubs only

# What a path names → the kind of thing that it is.
PARAMETERS = {
    "team_id": "team",
    "room_id": "room",
    "user_id": "member",
    "member_id": "member",
    "persona_id": "persona",
    "connection_id": "connection",
    "message_id": "message",
    "run_id": "run",
    "invitation_id": "invitation",
    "token_id": "token",
    "number": "number",
    "emoji": "emoji",
}
FREE = {"token", "language"}  # a secret, and a word
OF_ROOMS = {"room", "message", "run"}

# The pages: what their forms send. Ids in it are named by kind, in braces.
PAGES: dict[str, dict[str, str]] = {
    "rooms:create": {"name": "x", "privacy": "private", "personas": "{persona}"},
    "rooms:room": {},
    "rooms:post": {"text": "hi", "client_id": str(uuid4())},
    "rooms:join": {},
    "rooms:leave": {},
    "rooms:hand_over": {"person": "{member}"},
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
    "rooms:cancel": {},
    "rooms:retry": {},
    "agents:connections": {},
    "agents:connection_create": {"name": "x", "kind": "demo"},
    "agents:connection_try": {"kind": "demo"},
    "agents:connection": {"name": "x"},
    "agents:connection_check": {},
    "agents:connection_delete": {},
    "agents:personas": {},
    "agents:persona_create": {"name": "x"},
    "agents:persona": {"name": "x"},
    "agents:persona_grants": {},
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
    "accounts:invite": {"role": "guest", "days": "7", "max_uses": "1"},
    "accounts:set_role": {"role": "guest"},
    "accounts:suspend": {},
    "accounts:restore": {},
    "accounts:hand_over": {},
    "accounts:remove": {},
    "accounts:invitation_revoke": {},
}
# Pages that name nothing of anybody's; they are one's own, or public.
WITHOUT_IDS = {
    *("rooms:home", "accounts:profile", "accounts:tokens", "accounts:invitation"),
    *("accounts:invitation_link", "setup", "jsi18n", "set_language"),
    *("healthz", "readyz", "metrics"),
}
# Apps of others under our roof, whose addresses name nothing of a team; and the API, see below.
ELSEWHERE = ("accounts/", "admin/", "api/")

# The REST operations that take a body: a valid one. What names something is in braces.
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
    "POST /teams/{team_id}/personas": {
        "name": "x",
        "role": "x",
        "goal": "x",
        "connection": "{connection}",
        "model": "demo",
    },
    "PATCH /personas/{persona_id}": {"connection": "{connection}"},
    "PATCH /messages/{message_id}": {"text": "x"},
    "POST /me/tokens": {"name": "x", "team": "{team}"},
    "PUT /personas/{persona_id}/grants": {"grants": [{"user": "{member}", "rights": ["use"]}]},
    "PUT /personas/{persona_id}/rooms": {"rooms": ["{room}"]},
    "POST /teams/{team_id}/rooms": {
        "name": "x",
        "personas": ["{persona}"],
        "default_persona": "{persona}",
    },
    "PATCH /rooms/{room_id}": {"default_persona": "{persona}"},
    "PUT /rooms/{room_id}/members/{member_id}": {"role": "member"},
    "POST /rooms/{room_id}/messages": {
        "text": "hi",
        "reply_to": "{message}",
        "personas": ["{persona}"],
    },
}
# The operations that take none.
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
    "GET /teams/{team_id}/personas",
    "GET /personas/{persona_id}",
    "DELETE /personas/{persona_id}",
    "GET /personas/{persona_id}/versions",
    "POST /personas/{persona_id}/versions/{number}/restore",
    "DELETE /messages/{message_id}",
    "PUT /messages/{message_id}/reactions/{emoji}",
    "DELETE /messages/{message_id}/reactions/{emoji}",
    "GET /rooms/{room_id}/events",
    "GET /rooms/{room_id}/stream",
    "GET /me",
    "GET /me/tokens",
    "DELETE /me/tokens/{token_id}",
    "GET /personas/{persona_id}/grants",
    "GET /personas/{persona_id}/rooms",
    "GET /wire.json",
    "GET /teams/{team_id}/audit",
    "GET /teams/{team_id}/rooms",
    "GET /rooms/{room_id}",
    "DELETE /rooms/{room_id}",
    "GET /rooms/{room_id}/members",
    "DELETE /rooms/{room_id}/members/{member_id}",
    "PUT /rooms/{room_id}/personas/{persona_id}",
    "DELETE /rooms/{room_id}/personas/{persona_id}",
    "GET /rooms/{room_id}/messages",
    "GET /messages/{message_id}",
    "GET /runs/{run_id}",
    "POST /runs/{run_id}/cancel",
    "POST /runs/{run_id}/retry",
}
# One's own session, and the audit, which says that somebody was refused.
WRITTEN_BESIDE = ("django_session", "accounts_auditentry")
# What nobody sets by a body, unless the operation's own schema has it.
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


@pytest.fixture
def victim(db: None) -> Tenant:
    return make_tenant("Victim")


@pytest.fixture
def own(db: None) -> Tenant:
    return make_tenant("Own")


def pages() -> Iterator[tuple[str, str]]:
    """Every page of ours: its name, and its path with the names of its parameters in braces."""
    for route, name in _walk(get_resolver().url_patterns, "", ""):
        if not route.startswith(ELSEWHERE):
            yield name or route, "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)


def _walk(patterns: Any, prefix: str, namespace: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _walk(pattern.url_patterns, route, inner)
        elif isinstance(pattern, URLPattern):
            yield route, namespace + pattern.name if pattern.name else ""


def operations() -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Every REST operation: method and path, and the properties of its body, if it takes one."""
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
    """The parameters of a path, and what kind of thing each of them names."""
    found = re.findall(r"{(\w+)}", path)
    return {each: PARAMETERS[each] for each in found if each not in FREE}


def filled(thing: Any, ids: Ids) -> Any:
    """A body or a form with ids in it."""
    text = json.dumps(thing)
    return json.loads(re.sub(r"{(\w+)}", lambda found: ids[found[1]], text))


def absent() -> Ids:
    """Ids of nothing. A version is none that strangers could tell from another."""
    kinds = {*PARAMETERS.values()} - {"number", "emoji"}
    return {**{kind: str(uuid4()) for kind in kinds}, "number": "1", "emoji": EMOJI}


def masked(answer: Answer, *sides: Ids) -> tuple[int, str, str]:
    """What somebody is told, without the ids that they have sent and what is new each time."""
    text = answer.content.decode()
    told = f"{answer.get('Location', '')}\n{text}"
    for ids in sides:
        for value in ids.values():
            if len(value) > 10:
                told = told.replace(value, "ID")
    told = re.sub(r'csrfmiddlewaretoken" value="\w+"', "", told)
    told = re.sub(r'nonce="[^"]+"', "", told)
    return answer.status_code, answer.get("Content-Type", ""), told


def asked(client: Client, method: str, path: str, **data: Any) -> tuple[Answer, list[str]]:
    """Ask for something; return the answer, and what was written of what is anybody's."""
    writes: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001  # as Django calls it
        result = execute(sql, params, many, context)
        changes = sql.startswith(("INSERT", "UPDATE", "DELETE")) and context["cursor"].rowcount
        if changes and not any(table in sql for table in WRITTEN_BESIDE):
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


def page_of(client: Client, method: str, path: str, form: dict[str, str]) -> Any:
    if method == "GET":
        return asked(client, method, path)
    return asked(
        client,
        method,
        path,
        data="&".join(f"{key}={value}" for key, value in form.items()),
        content_type="application/x-www-form-urlencoded",
    )


def rest_of(token: str | None, name: str, ids: Ids, path_ids: Ids | None = None) -> Any:
    method, _, path = name.partition(" ")
    where = "/api/v1" + re.sub(
        r"{(\w+)}", lambda found: (path_ids or ids)[PARAMETERS[found[1]]], path
    )
    headers = {"headers": {"Authorization": f"Bearer {token}"}} if token else {}
    body = json.dumps(filled(BODIES.get(name, {}), ids))
    return asked(Client(), method, where, data=body, content_type="application/json", **headers)


def is_foreign(principal: Principal, kinds: dict[str, str]) -> bool:
    """Whether a path leads to something that is not for them."""
    return not principal.insider or not OF_ROOMS.isdisjoint(kinds.values())


def check_refusals(real: Any, unknown: Any, ids: Ids, nothing: Ids, about: object) -> int:
    """Hold what is said of a foreign thing against what is said of none; return the status."""
    (there, written), (not_there, written_too) = real, unknown
    assert masked(there, ids, nothing) == masked(not_there, ids, nothing), about
    assert (written, written_too) == ([], []), about
    return int(there.status_code)


def test_every_page_is_listed() -> None:
    found = dict(pages())
    with_ids = {name for name, path in found.items() if kinds_in(path)}

    assert with_ids == set(PAGES)
    assert found.keys() - with_ids == WITHOUT_IDS


def test_every_operation_is_listed() -> None:
    found = dict(operations())
    taking = {name for name, properties in found.items() if properties is not None}

    assert taking == set(BODIES)
    assert found.keys() - taking == BODILESS


def test_every_id_that_a_body_may_name_is_tried() -> None:
    for name, properties in operations():
        for field, schema in (properties or {}).items():
            if "uuid" in json.dumps(schema) and field != "client_id":  # one's own mark
                assert "{" in json.dumps(BODIES[name].get(field)), (name, field)


def test_pages_give_outsiders_the_bytes_of_what_is_not_there(victim: Tenant, own: Tenant) -> None:
    nothing = absent()
    principals = make_principals(victim, own)
    refused = 0
    for principal in [*principals, None]:
        client = browser(principal.user if principal else None)
        for name, path in pages():
            kinds = kinds_in(path)
            if not kinds or (principal and not is_foreign(principal, kinds)):
                continue
            form = PAGES[name]
            statuses = set()
            for method in ("GET", "POST"):
                real, unknown = (
                    page_of(
                        client,
                        method,
                        path.format(**{each: ids[kind] for each, kind in kinds.items()}),
                        filled(form, ids),
                    )
                    for ids in (victim.ids, nothing)
                )
                about = (principal and principal.name, method, name)
                status = check_refusals(real, unknown, victim.ids, nothing, about)
                statuses.add(status)
                if status == 302:  # to where one signs in, or away from where only a form leads
                    assert real[0]["Location"].startswith(("/accounts/login/", "/")), about
                assert "CANARY" not in real[0].content.decode(), about
            if principal and principal.comes_in:
                assert 404 in statuses, (principal.name, name, statuses)
                assert statuses <= {404, 405, 302}, (principal.name, name, statuses)
            else:
                assert statuses <= {302, 405}, (name, statuses)
            refused += 1

    assert refused > len(PAGES) * 6


def test_rest_gives_outsiders_the_bytes_of_what_is_not_there(victim: Tenant, own: Tenant) -> None:
    nothing = absent()
    for principal in [*make_principals(victim, own), None]:
        token = principal.token if principal else None
        for name, _properties in operations():
            kinds = kinds_in(name)
            if not kinds or (principal and not is_foreign(principal, kinds)):
                continue
            real, unknown = rest_of(token, name, victim.ids), rest_of(token, name, nothing)
            about = (principal and principal.name, name)
            status = check_refusals(real, unknown, victim.ids, nothing, about)
            assert status == (404 if principal and principal.comes_in else 401), about


def test_thing_of_another_team_inside_of_an_own_path_is_not_there(
    victim: Tenant, own: Tenant
) -> None:
    """TEN-08: one id of a path is foreign, the others are one's own."""
    nothing = absent()
    token = make_principals(victim, own)[0].token
    client = browser(own.owner)
    tried = 0
    for name, path in [*pages(), *((name, name) for name, _properties in operations())]:
        kinds = kinds_in(path)
        if len(kinds) < 2:
            continue
        for foreign in set(kinds.values()) - {"number", "emoji"}:
            answers = []
            for ids in (victim.ids, nothing):
                mixed = {**own.ids, foreign: ids[foreign]}
                if " " in name:
                    answers.append(rest_of(token, name, own.ids, mixed))
                else:
                    where = path.format(**{each: mixed[kind] for each, kind in kinds.items()})
                    answers.append(page_of(client, "POST", where, filled(PAGES[name], own.ids)))
            real, unknown = answers
            status = check_refusals(real, unknown, victim.ids, nothing, (name, foreign))
            assert status in {404, 405}, (name, foreign)
            tried += 1

    assert tried > 20


def test_thing_of_another_team_inside_of_a_body_is_not_there(victim: Tenant, own: Tenant) -> None:
    nothing = absent()
    token = make_principals(victim, own)[0].token
    for name, body in BODIES.items():
        if name == "POST /invitations/accept":
            continue  # by a secret, and no id
        kinds = set(re.findall(r"{(\w+)}", json.dumps(body)))
        for foreign in kinds:
            real, unknown = (
                rest_of(token, name, {**own.ids, foreign: ids[foreign]}, own.ids)
                for ids in (victim.ids, nothing)
            )
            status = check_refusals(real, unknown, victim.ids, nothing, (name, foreign))
            assert status == 404, (name, foreign, real[0].content)
        # The control: with one's own ids it is taken.
        with transaction.atomic():
            mine, _writes = rest_of(token, name, own.ids, own.ids)
            assert mine.status_code < 400, (name, mine.content)
            transaction.set_rollback(True)


def test_thing_of_another_team_inside_of_a_form_is_not_there(victim: Tenant, own: Tenant) -> None:
    nothing = absent()
    client = browser(own.owner)
    paths = dict(pages())
    for name, form in PAGES.items():
        for field in [field for field, value in form.items() if value.startswith("{")]:
            kinds = kinds_in(paths[name])
            where = paths[name].format(**{each: own.ids[kind] for each, kind in kinds.items()})
            real, unknown = (
                page_of(client, "POST", where, {**filled(form, own.ids), field: value})
                for value in (
                    filled(form, victim.ids)[field],
                    filled(form, nothing)[field],
                )
            )
            check_refusals(real, unknown, victim.ids, nothing, (name, field))


def test_room_that_is_archived_or_deleted_is_not_there_for_outsiders_either(
    victim: Tenant, own: Tenant
) -> None:
    nothing = absent()
    names = {"stranger", "former", "member-here", "guest-here"}
    principals = [p for p in make_principals(victim, own) if p.name in names]
    rooms = other_rooms(victim)
    for principal in principals:
        for kind, room in rooms.items():
            may_join = kind == "open" and principal.name in {"admin-here", "member-here"}
            ids = {**victim.ids, "room": room}
            for name, _properties in operations():
                if "{room_id}" not in name or (may_join and name.startswith("PUT")):
                    continue
                real, unknown = (
                    rest_of(principal.token, name, ids),
                    rest_of(principal.token, name, nothing),
                )
                status = check_refusals(real, unknown, ids, nothing, (principal.name, kind, name))
                assert status == 404


def test_what_is_protected_is_no_field_of_any_body(own: Tenant, victim: Tenant) -> None:
    """TEN-09: whatever a body adds to what its operation knows is refused, and nothing written."""
    token = make_principals(victim, own)[0].token
    for name, properties in operations():
        if properties is None:
            continue
        for field in PROTECTED.keys() - properties.keys():
            extra = {**BODIES[name], field: PROTECTED[field]}
            answer, writes = with_body(token, name, filled(extra, own.ids), own.ids)
            assert answer.status_code == 400, (name, field, answer.content)
            assert answer.json()["code"] == "invalid"
            assert writes == [], (name, field)


def with_body(token: str, name: str, body: Any, ids: Ids) -> Any:
    method, _, path = name.partition(" ")
    where = "/api/v1" + re.sub(r"{(\w+)}", lambda found: ids[PARAMETERS[found[1]]], path)
    return asked(
        Client(),
        method,
        where,
        data=json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )


def test_no_form_is_taken_without_its_token(own: Tenant) -> None:
    """AUT-05: every page and every operation that changes something asks a browser for CSRF."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(own.owner)
    for name, path in pages():
        kinds = kinds_in(path)
        if not kinds and name != "accounts:profile":
            continue
        where = path.format(**{each: own.ids[kind] for each, kind in kinds.items()})
        answer, writes = page_of(client, "POST", where, filled(PAGES.get(name, {}), own.ids))
        assert answer.status_code in {403, 405}, name
        assert writes == [], name
    for name, _properties in operations():
        method, _, path = name.partition(" ")
        if method == "GET":
            continue
        where = "/api/v1" + re.sub(r"{(\w+)}", lambda found: own.ids[PARAMETERS[found[1]]], path)
        body = json.dumps(filled(BODIES.get(name, {}), own.ids))
        answer, writes = asked(client, method, where, data=body, content_type="application/json")
        assert answer.status_code == 403, name
        assert writes == [], name


def test_suspended_account_is_nobody_on_every_operation(victim: Tenant, own: Tenant) -> None:
    """AUT-08: with a token that was made before."""
    suspended = next(p for p in make_principals(victim, own) if not p.comes_in)
    expected = rest_of(None, "GET /me", victim.ids)[0].content
    for name, _properties in operations():
        answer, writes = rest_of(suspended.token, name, victim.ids)
        assert (answer.status_code, answer.content, writes) == (401, expected, []), name


def test_the_comparison_sees_a_leak(victim: Tenant, own: Tenant) -> None:
    """The control: a status, a byte or a write that tells a foreign thing from none is caught."""
    nothing = absent()
    member, _writes = browser(victim.member), None
    path = "/rooms/{room_id}/"
    real, unknown = (
        page_of(member, "GET", path.format(room_id=ids["room"]), {})
        for ids in (victim.ids, nothing)
    )

    with pytest.raises(AssertionError):
        check_refusals(real, unknown, victim.ids, nothing, "a member sees the room")
    with pytest.raises(AssertionError):
        check_refusals((unknown[0], ["INSERT"]), unknown, victim.ids, nothing, "a write")
