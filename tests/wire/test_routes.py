"""The routes and methods of the contract and of the server are the same, except `OTHER_ROUTES`."""

import re
from collections import defaultdict

from maru.web.api import api

# The paths and methods of the REST API, version 1.
CONTRACT = """
/me GET PATCH
/me/tokens GET POST
/me/tokens/{id} DELETE
/teams GET POST
/teams/{team} GET PATCH
/teams/{team}/members GET
/teams/{team}/members/{user} PATCH DELETE
/teams/{team}/invitations GET POST
/teams/{team}/invitations/{id} DELETE
/invitations/accept POST
/teams/{team}/connections GET POST
/teams/{team}/connections/{id} GET PATCH DELETE
/teams/{team}/connections/{id}/check POST
/teams/{team}/personas GET POST
/teams/{team}/personas/import POST
/personas/{id} GET PATCH DELETE
/personas/{id}/versions GET
/personas/{id}/versions/{n}/restore POST
/personas/{id}/grants GET PUT
/teams/{team}/tools GET
/personas/{id}/tools GET PUT
/teams/{team}/mcp GET POST
/teams/{team}/mcp/{id} GET PATCH DELETE
/teams/{team}/mcp/{id}/check POST
/teams/{team}/mcp/{id}/refresh POST
/teams/{team}/rooms GET POST
/rooms/{room} GET PATCH DELETE
/rooms/{room}/members GET
/rooms/{room}/members/{user} PUT DELETE
/rooms/{room}/personas/{persona} PUT DELETE
/rooms/{room}/messages GET POST
/messages/{id} GET PATCH DELETE
/messages/{id}/reactions/{emoji} PUT DELETE
/messages/{id}/continue POST
/messages/{id}/pin PUT DELETE
/messages/{id}/vote PUT
/rooms/{room}/pins GET
/messages/{id}/follow GET PUT DELETE
/teams/{team}/threads GET
/rooms/{room}/events GET
/rooms/{room}/stream GET
/runs/{id} GET
/runs/{id}/cancel POST
/runs/{id}/retry POST
/runs/{id}/prompt GET
/runs/{id}/steer POST
/questions/{id}/answer POST
/rounds/{id} GET
/rounds/{id}/cancel POST
/rounds/{id}/skip POST
/runs/{id}/calls GET
/approvals GET
/approvals/{id} GET
/approvals/{id}/decide POST
/teams/{team}/audit GET
/teams/{team}/direct POST
"""

OTHER_ROUTES = {
    ("/teams/{}/tools/{}", "PATCH"),
    ("/teams/{}/tools/{}/approve", "POST"),
    ("/wire.json", "GET"),
    ("/personas/{}/rooms", "GET"),
    ("/personas/{}/rooms", "PUT"),
    ("/teams/{}/owner", "PUT"),
    ("/teams/{}/delete", "POST"),
    ("/teams/{}/restore", "POST"),
    ("/rooms/{}/read", "PUT"),
    ("/rooms/{}/place", "GET"),
    ("/rooms/{}/place", "PATCH"),
    ("/rooms/{}/votes", "GET"),
    ("/rooms/{}/summary", "GET"),
    ("/personas/{}/votes", "GET"),
    ("/questions", "GET"),
    ("/questions/{}", "GET"),
    ("/questions/{}/close", "POST"),
    ("/runs/{}/calls/{}/show", "POST"),
}
"""Routes that the contract describes outside its table."""


def promised() -> set[tuple[str, str]]:
    rows = (line.split() for line in CONTRACT.strip().splitlines())
    return {(nameless(path), method) for path, *methods in rows for method in methods}


def served() -> set[tuple[str, str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, operations in api.get_openapi_schema(path_prefix="/")["paths"].items():
        found[nameless(path)] |= {method.upper() for method in operations}
    return {(path, method) for path, methods in found.items() for method in methods}


def nameless(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_every_route_of_the_contract_exists() -> None:
    assert promised() - served() == set()


def test_every_route_is_in_the_contract() -> None:
    assert served() - promised() == OTHER_ROUTES
