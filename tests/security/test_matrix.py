"""The permission matrix: each page and REST operation, called by each user without access.

The response to an object of another team must equal the response to an object that does not exist.
The requests are in `tests.security.requests`.
"""

import json
import re
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from tests.security.principals import (
    Ids,
    Tenant,
    make_principals,
    other_rooms,
)
from tests.security.requests import (
    BODIES,
    BODILESS,
    PAGES,
    PARAMETERS,
    PROTECTED,
    PUBLIC,
    WITHOUT_IDS,
    browser,
    check_same_response,
    filled,
    is_foreign,
    kinds_in,
    missing_ids,
    operations,
    pages,
    send,
    send_form,
    send_rest,
)

pytestmark = pytest.mark.django_db


def test_each_page_is_listed() -> None:
    found = dict(pages())
    with_ids = {name for name, path in found.items() if kinds_in(path)}

    assert with_ids == set(PAGES)
    assert found.keys() - with_ids == WITHOUT_IDS


def test_each_operation_is_listed() -> None:
    found = dict(operations())
    taking = {name for name, properties in found.items() if properties is not None}

    assert taking == set(BODIES)
    assert found.keys() - taking == BODILESS


def test_each_id_field_of_a_body_is_tested() -> None:
    for name, properties in operations():
        for field, schema in (properties or {}).items():
            if (
                "uuid" in json.dumps(schema) and field != "client_id"
            ):  # an idempotency key of the client
                assert "{" in json.dumps(BODIES[name].get(field)), (name, field)


def test_pages_give_outsiders_the_response_of_a_missing_object(victim: Tenant, own: Tenant) -> None:
    missing = missing_ids()
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
                    send_form(
                        client,
                        method,
                        path.format(**{each: ids[kind] for each, kind in kinds.items()}),
                        filled(form, ids),
                    )
                    for ids in (victim.ids, missing)
                )
                case = (principal and principal.name, method, name)
                status = check_same_response(real, unknown, victim.ids, missing, case)
                statuses.add(status)
                if status == 302:  # to the sign-in page, or from a URL that accepts only POST
                    assert real[0]["Location"].startswith(("/accounts/login/", "/")), case
                assert "CANARY" not in real[0].content.decode(), case
            if principal and principal.can_sign_in:
                assert 404 in statuses, (principal.name, name, statuses)
                assert statuses <= {404, 405, 302}, (principal.name, name, statuses)
            else:
                assert statuses <= {302, 405}, (name, statuses)
            refused += 1

    assert refused > len(PAGES) * 6


def test_rest_gives_outsiders_the_response_of_a_missing_object(victim: Tenant, own: Tenant) -> None:
    missing = missing_ids()
    for principal in [*make_principals(victim, own), None]:
        token = principal.token if principal else None
        for name, _properties in operations():
            kinds = kinds_in(name)
            if not kinds or (principal and not is_foreign(principal, kinds)):
                continue
            real, unknown = send_rest(token, name, victim.ids), send_rest(token, name, missing)
            case = (principal and principal.name, name)
            status = check_same_response(real, unknown, victim.ids, missing, case)
            assert status == (404 if principal and principal.can_sign_in else 401), case


def test_foreign_id_in_an_own_path_is_not_found(victim: Tenant, own: Tenant) -> None:
    """One id of the path is of another team, the others are of the own team."""
    missing = missing_ids()
    token = make_principals(victim, own)[0].token
    client = browser(own.owner)
    tried = 0
    for name, path in [*pages(), *((name, name) for name, _properties in operations())]:
        kinds = kinds_in(path)
        if len(kinds) < 2:
            continue
        for foreign in set(kinds.values()) - {"number", "emoji"}:
            answers = []
            for ids in (victim.ids, missing):
                mixed = {**own.ids, foreign: ids[foreign]}
                if " " in name:
                    answers.append(send_rest(token, name, own.ids, mixed))
                else:
                    where = path.format(**{each: mixed[kind] for each, kind in kinds.items()})
                    answers.append(send_form(client, "POST", where, filled(PAGES[name], own.ids)))
            real, unknown = answers
            status = check_same_response(real, unknown, victim.ids, missing, (name, foreign))
            assert status in {404, 405}, (name, foreign)
            tried += 1

    assert tried > 20


def test_foreign_id_in_a_body_is_not_found(victim: Tenant, own: Tenant) -> None:
    missing = missing_ids()
    token = make_principals(victim, own)[0].token
    for name, body in BODIES.items():
        if name == "POST /invitations/accept":
            continue  # the body has a secret instead of an id
        kinds = set(re.findall(r"{(\w+)}", json.dumps(body)))
        for foreign in kinds:
            real, unknown = (
                send_rest(token, name, {**own.ids, foreign: ids[foreign]}, own.ids)
                for ids in (victim.ids, missing)
            )
            status = check_same_response(real, unknown, victim.ids, missing, (name, foreign))
            assert status == 404, (name, foreign, real[0].content)
        # Control: with own ids the request succeeds.
        with transaction.atomic():
            accepted, _writes = send_rest(token, name, own.ids, own.ids)
            assert accepted.status_code < 400, (name, accepted.content)
            transaction.set_rollback(True)


def test_foreign_id_in_a_form_is_not_found(victim: Tenant, own: Tenant) -> None:
    missing = missing_ids()
    client = browser(own.owner)
    paths = dict(pages())
    for name, form in PAGES.items():
        for field in [field for field, value in form.items() if value.startswith("{")]:
            kinds = kinds_in(paths[name])
            where = paths[name].format(**{each: own.ids[kind] for each, kind in kinds.items()})
            real, unknown = (
                send_form(client, "POST", where, {**filled(form, own.ids), field: value})
                for value in (
                    filled(form, victim.ids)[field],
                    filled(form, missing)[field],
                )
            )
            check_same_response(real, unknown, victim.ids, missing, (name, field))


def test_open_archived_and_deleted_rooms_are_not_found_by_outsiders(
    victim: Tenant, own: Tenant
) -> None:
    missing = missing_ids()
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
                    send_rest(principal.token, name, ids),
                    send_rest(principal.token, name, missing),
                )
                status = check_same_response(
                    real, unknown, ids, missing, (principal.name, kind, name)
                )
                assert status == 404


def test_protected_fields_in_a_body_are_rejected(own: Tenant, victim: Tenant) -> None:
    """A body with a field outside of its schema is rejected and writes nothing."""
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
    return send(
        Client(),
        method,
        where,
        data=json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )


def test_requests_without_a_csrf_token_are_rejected(own: Tenant) -> None:
    """Pages and REST operations that change data need the CSRF token of the session."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(own.owner)
    for name, path in pages():
        kinds = kinds_in(path)
        if not kinds and name != "accounts:profile":
            continue
        where = path.format(**{each: own.ids[kind] for each, kind in kinds.items()})
        answer, writes = send_form(client, "POST", where, filled(PAGES.get(name, {}), own.ids))
        assert answer.status_code in {403, 405}, name
        assert writes == [], name
    for name, _properties in operations():
        method, _, path = name.partition(" ")
        if method == "GET":
            continue
        where = "/api/v1" + re.sub(r"{(\w+)}", lambda found: own.ids[PARAMETERS[found[1]]], path)
        body = json.dumps(filled(BODIES.get(name, {}), own.ids))
        answer, writes = send(client, method, where, data=body, content_type="application/json")
        assert answer.status_code == 403, name
        assert writes == [], name


def test_token_of_a_suspended_user_is_unauthenticated(victim: Tenant, own: Tenant) -> None:
    """The token was created before the suspension."""
    suspended = next(p for p in make_principals(victim, own) if not p.can_sign_in)
    expected = send_rest(None, "GET /me", victim.ids)[0].content
    for name, _properties in operations():
        if name in PUBLIC:
            continue
        answer, writes = send_rest(suspended.token, name, victim.ids)
        assert (answer.status_code, answer.content, writes) == (401, expected, []), name


def test_comparison_detects_a_leak(victim: Tenant, own: Tenant) -> None:
    """Control: a differing response and a write are both detected."""
    missing = missing_ids()
    member, _writes = browser(victim.member), None
    path = "/rooms/{room_id}/"
    real, unknown = (
        send_form(member, "GET", path.format(room_id=ids["room"]), {})
        for ids in (victim.ids, missing)
    )

    with pytest.raises(AssertionError):
        check_same_response(real, unknown, victim.ids, missing, "a member sees the room")
    with pytest.raises(AssertionError):
        check_same_response((unknown[0], ["INSERT"]), unknown, victim.ids, missing, "a write")
