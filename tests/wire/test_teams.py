"""Teams, invitations, connections and personas by REST."""

import pytest

from tests.live import Person, PopulatedRoom
from tests.wire.server import UNKNOWN_ID, Server
from tests.wire.shapes import BOOL, COUNT, ID, OBJECT, TEXT, WHEN, check, each, null_or, record

TEAM = record("team", id=ID, name=TEXT, role=TEXT, require_mfa=BOOL, created_at=WHEN)
TEAM_MEMBER = record(
    "team member",
    user=ID,
    name=TEXT,
    handle=TEXT,
    wood=TEXT,
    role=TEXT,
    suspended=BOOL,
    joined_at=WHEN,
)
INVITATION = {
    "id": ID,
    "role": TEXT,
    "email": TEXT,
    "uses": COUNT,
    "max_uses": COUNT,
    "rooms": each(ID),
    "created_at": WHEN,
    "expires_at": WHEN,
}
CONNECTION = record(
    "connection",
    id=ID,
    team=ID,
    name=TEXT,
    kind=TEXT,
    base_url=TEXT,
    has_key=BOOL,
    models=each(TEXT),
    created_at=WHEN,
)
PUBLIC = {"id": ID, "team": ID, "name": TEXT, "handle": TEXT, "role": TEXT, "goal": TEXT}
LAYOUT = {"pigment": TEXT, "lattice": TEXT, "enabled": BOOL, "version": COUNT, "created_at": WHEN}
INSIDE = ("backstory", "instructions", "connection", "model", "temperature", "max_output_tokens")
PERSONA = record(
    "whole persona", **PUBLIC, **LAYOUT, **{name: null_or(lambda v, w: iter(())) for name in INSIDE}
)
VERSION = record(
    "version",
    number=COUNT,
    changed=each(TEXT),
    fields=OBJECT,
    created_by=null_or(ID),
    created_at=WHEN,
)


@pytest.fixture(scope="module")
def team_owner(server: Server, foreign: PopulatedRoom) -> Person:
    """The owner of a team that only this module changes, with an admin token."""
    owner = foreign.members[0]
    return Person(owner.user, admin(server, owner))


def admin(server: Server, person: Person) -> str:
    return server.create_token(person, scopes=["admin"])[1]


@pytest.fixture(scope="module")
def team(foreign: PopulatedRoom) -> str:
    return foreign.team


@pytest.fixture
def worker(foreign: PopulatedRoom) -> Person:
    return foreign.members[1]


def test_created_team_is_owned_by_its_creator(
    server: Server, worker: Person, member: Person
) -> None:
    created = server.request("POST", "/teams", worker, {"name": "새 팀"})
    new = created.body

    check(TEAM, new)
    assert (created.status, new["name"], new["role"]) == (201, "새 팀", "owner")
    assert new["id"] in [one["id"] for one in server.request("GET", "/teams", worker).body["items"]]
    assert server.request("GET", f"/teams/{new['id']}", worker).body == new
    nowhere = server.request("GET", f"/teams/{UNKNOWN_ID}", member)
    assert server.request("GET", f"/teams/{new['id']}", member) == nowhere
    assert nowhere.status == 404


def test_only_the_owner_renames_a_team(
    server: Server, team: str, team_owner: Person, worker: Person
) -> None:
    refused = server.request("PATCH", f"/teams/{team}", worker, {"nonsense": 1})
    renamed = server.request("PATCH", f"/teams/{team}", team_owner, {"name": "다른 이름"})

    assert refused.code == "forbidden"
    assert (renamed.status, renamed.body["name"]) == (200, "다른 이름")
    assert (
        server.request("PATCH", f"/teams/{team}", team_owner, {"id": UNKNOWN_ID}).code == "invalid"
    )


def test_members_of_a_team_are_listed_to_its_members(
    server: Server, team: str, team_owner: Person, worker: Person
) -> None:
    listed = server.request("GET", f"/teams/{team}/members", worker)
    one = server.request("GET", f"/teams/{team}/members?limit=1", worker).body
    rest = server.request("GET", f"/teams/{team}/members?cursor={one['next']}", worker).body

    check(each(TEAM_MEMBER), listed.body["items"])
    assert {team_owner.user, worker.user} <= {each["user"] for each in listed.body["items"]}
    assert one["items"] + rest["items"] == listed.body["items"]
    assert "email" not in listed.raw.decode()


def test_invitation_is_accepted_once_with_its_role(
    server: Server, team: str, team_owner: Person, worker: Person, member: Person, stranger: Person
) -> None:
    path = f"/teams/{team}/invitations"
    assert server.request("POST", path, worker, {"role": "member"}).code == "forbidden"
    created = server.request("POST", path, team_owner, {"role": "guest"})
    check(record("invitation", **INVITATION, token=TEXT, url=TEXT), created.body)
    listed = server.request("GET", path, team_owner)
    check(each(record("invitation", **INVITATION)), listed.body["items"])
    assert created.body["token"] not in listed.raw.decode()
    assert created.body["url"].endswith(f"/{created.body['token']}/")

    accepted = server.request(
        "POST", "/invitations/accept", member, {"token": created.body["token"]}
    )
    again = server.request(
        "POST", "/invitations/accept", stranger, {"token": created.body["token"]}
    )

    assert (accepted.status, accepted.body["id"], accepted.body["role"]) == (200, team, "guest")
    assert again.code == "not_found"
    seen = server.request("GET", f"/teams/{team}/members", member).body["items"]
    assert {one["user"] for one in seen} == {team_owner.user, member.user}

    changed = server.request(
        "PATCH", f"/teams/{team}/members/{member.user}", team_owner, {"role": "member"}
    )
    assert changed.body["role"] == "member"
    missing = server.request(
        "PATCH", f"/teams/{team}/members/{UNKNOWN_ID}", team_owner, {"nonsense": 1}
    )
    assert missing.code == "not_found"
    assert (
        server.request("DELETE", f"/teams/{team}/members/{member.user}", worker).code == "forbidden"
    )
    assert (
        server.request("DELETE", f"/teams/{team}/members/{member.user}", team_owner).status == 204
    )
    assert server.request("GET", f"/teams/{team}", member).status == 404


def test_revoked_invitation_is_not_found(
    server: Server, team: str, team_owner: Person, member: Person
) -> None:
    created = server.request("POST", f"/teams/{team}/invitations", team_owner, {}).body
    path = f"/teams/{team}/invitations/{created['id']}"

    assert server.request("DELETE", path, team_owner).status == 204
    assert server.request("DELETE", path, team_owner).status == 404
    accepted = server.request("POST", "/invitations/accept", member, {"token": created["token"]})
    assert accepted.code == "not_found"


def test_key_of_a_connection_is_write_only(
    server: Server, team: str, team_owner: Person, worker: Person
) -> None:
    path, key = f"/teams/{team}/connections", "sk-CANARY-7f3a9c"
    fields = {"name": "Ours", "kind": "openai", "base_url": server.provider.base_url, "key": key}
    assert server.request("POST", path, worker, fields).code == "forbidden"
    created = server.request("POST", path, team_owner, {**fields, "models": ["echo"]})
    check(CONNECTION, created.body)
    mine = f"{path}/{created.body['id']}"
    checked = server.request("POST", f"{mine}/check", team_owner)
    renamed = server.request("PATCH", mine, team_owner, {"name": "Theirs"})
    answers = [
        created,
        checked,
        renamed,
        server.request("GET", mine, team_owner),
        server.request("GET", path, team_owner),
    ]

    assert (created.status, created.body["has_key"]) == (201, True)
    check(record("check", ok=BOOL, detail=TEXT, models=each(TEXT)), checked.body)
    assert checked.body["ok"], checked.body
    assert (renamed.body["name"], renamed.body["has_key"]) == ("Theirs", True)
    assert not any(key.encode() in answer.raw for answer in answers)
    assert server.request("PATCH", mine, team_owner, {"key": ""}).body["has_key"] is False
    assert server.request("GET", mine, worker).code == "forbidden"
    assert server.request("DELETE", mine, team_owner).status == 204
    assert server.request("GET", mine, team_owner).code == "not_found"


def test_connection_is_found_in_its_own_team_only(
    server: Server, team: str, team_owner: Person, room: PopulatedRoom
) -> None:
    created = server.request(
        "POST", f"/teams/{team}/connections", team_owner, {"name": "x", "kind": "demo"}
    )
    own = server.request("POST", "/teams", team_owner, {"name": "another"}).body["id"]

    for method, end in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/check")):
        path = f"/teams/{own}/connections/{created.body['id']}{end}"
        assert (
            server.request(method, path, team_owner, b"{" if method == "PATCH" else None).status
            == 404
        )
    server.request("DELETE", f"/teams/{team}/connections/{created.body['id']}", team_owner)


def test_address_outside_the_allow_list_is_refused(
    server: Server, team: str, team_owner: Person
) -> None:
    fields = {"name": "Inner", "kind": "openai", "base_url": "http://127.0.0.1:1/v1"}

    refused = server.request("POST", f"/teams/{team}/connections", team_owner, fields)
    assert (refused.status, refused.code) == (400, "invalid")
    assert "base_url" in refused.body["fields"]


def test_persona_is_created_changed_and_restored(
    server: Server, team: str, team_owner: Person, worker: Person
) -> None:
    fields = {"name": "x", "kind": "demo"}
    connection = server.request("POST", f"/teams/{team}/connections", team_owner, fields).body["id"]
    fields = {"name": "누리", "role": "Scribe", "goal": "Write it down.", "model": "demo"}
    created = server.request(
        "POST", f"/teams/{team}/personas", team_owner, {**fields, "connection": connection}
    )
    assert created.status == 201, created.raw
    check(PERSONA, created.body)
    path = f"/personas/{created.body['id']}"

    secret = {"instructions": "Say nothing of this.", "enabled": False}
    changed = server.request("PATCH", path, team_owner, {**secret, "version": 1})
    assert (changed.body["version"], changed.body["enabled"]) == (2, False)
    stale = server.request("PATCH", path, team_owner, {"name": "늦음", "version": 1})
    assert stale.code == "conflict"
    shown = server.request("GET", path, worker)
    check(PERSONA, shown.body)
    assert shown.body["name"] == "누리"
    assert {shown.body[name] for name in INSIDE} == {None}
    versions = server.request("GET", f"{path}/versions", team_owner).body["items"]
    check(each(VERSION), versions)
    assert [version["number"] for version in versions] == [2, 1]
    paged = server.request("GET", f"{path}/versions?limit=1", team_owner).body
    rest = server.request("GET", f"{path}/versions?cursor={paged['next']}", team_owner).body
    assert paged["items"] + rest["items"] == versions
    back = server.request("POST", f"{path}/versions/1/restore", team_owner)
    assert (back.body["version"], back.body["instructions"]) == (3, "")

    for method, end in (("PATCH", ""), ("DELETE", ""), ("GET", "/versions")):
        body = {"nonsense": 1} if method == "PATCH" else None
        assert server.request(method, path + end, worker, body).code == "forbidden"
    assert server.request("POST", f"{path}/versions/1/restore", worker).code == "forbidden"
    assert server.request("POST", f"{path}/versions/9/restore", team_owner).code == "not_found"
    assert server.request("DELETE", path, team_owner).status == 204
    assert server.request("GET", path, worker).status == 404


def test_stranger_gets_not_found_for_all_routes_of_a_team(
    server: Server, foreign: PopulatedRoom, team_owner: Person, stranger: Person
) -> None:
    """Each response equals that of an unknown team, before the body is validated."""
    persona = server.request("GET", f"/teams/{foreign.team}/personas", team_owner).body["items"][0][
        "id"
    ]
    connection = server.request("GET", f"/teams/{foreign.team}/connections", team_owner).body[
        "items"
    ]
    routes = [
        ("GET", ""),
        ("PATCH", ""),
        ("GET", "/members"),
        ("PATCH", f"/members/{team_owner.user}"),
        ("DELETE", f"/members/{team_owner.user}"),
        ("GET", "/invitations"),
        ("POST", "/invitations"),
        ("DELETE", f"/invitations/{UNKNOWN_ID}"),
        ("GET", "/connections"),
        ("POST", "/connections"),
        ("GET", f"/connections/{connection[0]['id']}"),
        ("PATCH", f"/connections/{connection[0]['id']}"),
        ("DELETE", f"/connections/{connection[0]['id']}"),
        ("POST", f"/connections/{connection[0]['id']}/check"),
        ("GET", "/personas"),
        ("POST", "/personas"),
        ("GET", "/rooms"),
        ("POST", "/rooms"),
    ]
    paths = [(method, f"/teams/{foreign.team}{end}") for method, end in routes]
    paths += [(method, f"/personas/{persona}") for method in ("GET", "PATCH", "DELETE")]
    paths += [("GET", f"/personas/{persona}/versions")]
    paths += [("POST", f"/personas/{persona}/versions/1/restore")]
    nothing = server.request("GET", f"/teams/{UNKNOWN_ID}", stranger)

    for method, path in paths:
        body = b"{nonsense" if method in {"POST", "PATCH"} else None
        assert server.request(method, path, stranger, body) == nothing, (method, path)
    assert nothing.code == "not_found"


def test_team_token_cannot_create_or_join_teams(
    server: Server, team: str, team_owner: Person, worker: Person
) -> None:
    _, bound = server.create_token(worker, team=team)
    token = server.request("POST", f"/teams/{team}/invitations", team_owner, {}).body["token"]

    assert server.request("POST", "/teams", bound, {"name": "x"}).code == "forbidden"
    assert (
        server.request("POST", "/invitations/accept", bound, {"token": token}).code == "forbidden"
    )
