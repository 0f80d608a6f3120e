"""The REST endpoints of tools."""

import json
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from accounts.services import create_token
from agents.tools.catalog import CATALOG
from agents.tools.registry import specs_for
from tests.agents.cast import Cast
from tests.agents.services.test_persona_tools import CLOCK, FETCH, editor, server, tool

pytestmark = pytest.mark.django_db


def call(user: User, method: str, path: str, body: object = None) -> Any:
    _token, secret = create_token(user=user, name="t", scopes=["admin"])
    return Client().generic(
        method,
        f"/api/v1{path}",
        data="" if body is None else json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )


def test_a_member_lists_the_tools_of_the_team(cast: Cast) -> None:
    files = server(cast.team)
    write = tool(files, "write", changes=True, approved_sha256="")

    found = call(cast.member, "GET", f"/teams/{cast.team.pk}/tools").json()["items"]

    assert [each["name"] for each in found] == [*(t.key for t in CATALOG[::-1]), "files_write"]
    assert found[-1] == {
        "id": str(write.pk),
        "name": "files_write",
        "title": "Write",
        "description": "",
        "server": str(files.pk),
        "reach": "internet",
        "changes": True,
        "idempotent": False,
        "sha256": "a",
        "approved": False,
        "needs_admin": True,
    }


def test_tools_are_listed_in_pages(cast: Cast) -> None:
    files = server(cast.team)
    keys = [tool(files, key).name for key in ("a", "b", "c")]
    names, cursor = [], ""

    while cursor is not None:
        path = f"/teams/{cast.team.pk}/tools?limit=4" + (f"&cursor={cursor}" if cursor else "")
        page = call(cast.member, "GET", path).json()
        assert 0 < len(page["items"]) <= 4
        names += [each["name"] for each in page["items"]]
        cursor = page["next"]

    assert names[:-3] == [each.key for each in CATALOG[::-1]]
    assert sorted(names[-3:]) == keys


def test_a_guest_lists_only_the_tools_of_every_team(cast: Cast) -> None:
    tool(server(cast.team))

    found = call(cast.guest, "GET", f"/teams/{cast.team.pk}/tools").json()["items"]

    assert {each["server"] for each in found} == {None}


def test_put_replaces_all_tools_of_a_persona(cast: Cast) -> None:
    path = f"/personas/{cast.persona.pk}/tools"
    call(cast.admin, "PUT", path, {"tools": [{"tool": str(CLOCK), "policy": "always"}]})
    asks = {"tool": str(FETCH), "policy": "ask", "deciders": "moderators"}

    put = call(cast.admin, "PUT", path, {"tools": [asks]})

    assert put.status_code == 200
    assert put.json() == {"tools": [asks]} == call(cast.admin, "GET", path).json()
    versions = call(cast.admin, "GET", f"/personas/{cast.persona.pk}/versions").json()["items"]
    assert [version["changed"] for version in versions] == [["tools"], ["tools"], []]
    assert versions[0]["fields"]["tools"] == [asks]


def test_a_tool_that_is_never_used_keeps_its_policy(cast: Cast) -> None:
    path = f"/personas/{cast.persona.pk}/tools"
    never = {"tool": str(CLOCK), "policy": "never", "deciders": "asker"}

    put = call(cast.admin, "PUT", path, {"tools": [never]})

    assert put.json() == {"tools": [never]} == call(cast.admin, "GET", path).json()
    assert specs_for(cast.persona) == ()


def test_an_editor_may_not_free_a_tool_that_changes_something(cast: Cast) -> None:
    write = tool(server(cast.team), "write", changes=True)
    user = getattr(cast, editor(cast))
    path = f"/personas/{cast.persona.pk}/tools"

    refused = call(user, "PUT", path, {"tools": [{"tool": str(write.pk), "policy": "always"}]})
    asking = call(user, "PUT", path, {"tools": [{"tool": str(write.pk), "policy": "ask"}]})

    assert refused.status_code == 403
    assert "Only a team admin" in refused.json()["detail"]
    assert asking.status_code == 200


def test_the_tools_of_a_persona_are_for_those_who_edit_it(cast: Cast) -> None:
    path = f"/personas/{cast.persona.pk}/tools"
    body: dict[str, object] = {"tools": []}

    for user, status in ((cast.member, 403), (cast.stranger, 404)):
        assert call(user, "GET", path).status_code == status
        assert call(user, "PUT", path, body).status_code == status


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tools": [{"tool": "x", "policy": "ask"}]},
        {"tools": [{"tool": str(CLOCK), "policy": "sometimes"}]},
        {"tools": [{"tool": str(CLOCK), "policy": "ask", "deciders": "stranger"}]},
        {"tools": [{"tool": str(CLOCK), "policy": "ask", "extra": 1}]},
        {"tools": [{"tool": str(CLOCK), "policy": "ask"}] * 201},
    ],
)
def test_a_wrong_body_is_invalid(cast: Cast, body: object) -> None:
    put = call(cast.admin, "PUT", f"/personas/{cast.persona.pk}/tools", body)

    assert (put.status_code, put.json()["code"]) == (400, "invalid")
