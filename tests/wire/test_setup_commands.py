"""The management commands that create teams, users and rooms."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.live import Person, PopulatedRoom
from tests.wire.conftest import MODELS
from tests.wire.server import Server
from tests.wire.shapes import ID, TEXT, check, each, record


def test_empty_installation_prints_a_link_and_is_set_up_by_bootstrap(server: Server) -> None:
    (token,) = [word for word in server.printed.split() if word.startswith("maru_")]
    me = server.request("GET", "/me", token).body

    assert "/setup/" in server.installation.setup_link()
    assert me["email"] == "haneul@example.com"
    assert [(team["name"], team["role"]) for team in me["teams"]] == [("한결", "owner")]


async def test_populate_needs_force_if_a_team_exists(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "people.json"
    sizes = ("--rooms", "1", "--members", "1", "--out", str(out))

    with pytest.raises(RuntimeError):
        server.installation.manage("populate", *sizes)
    assert not out.exists()
    server.installation.manage("populate", *sizes, "--force")
    (room,) = json.loads(out.read_text())["rooms"]
    async with server.client(Person(**room["members"][0])) as client:
        assert len((await client.join(room["id"]))["state"]["personas"]) == 1


def test_populate_says_that_a_private_provider_must_be_allowed(
    server: Server, tmp_path: Path
) -> None:
    out = tmp_path / "people.json"
    provider = ("--provider", "http://10.20.30.40:8260/v1", "--model", "stub")

    with pytest.raises(RuntimeError) as failed:
        sizes = ("--rooms", "1", "--members", "1", "--out", str(out))
        server.installation.manage("populate", *sizes, *provider, "--force")

    assert "MARU_EGRESS_ALLOW" in str(failed.value)
    assert "Traceback" not in str(failed.value)
    assert not out.exists()


def populated(server: Server, out: Path, *options: str) -> Any:
    sizes = ("--rooms", "3", "--members", "2", "--out", str(out), "--force")
    server.installation.manage("populate", *sizes, *options)
    return json.loads(out.read_text())


async def test_populate_makes_private_rooms_with_demo_personas(
    server: Server, tmp_path: Path
) -> None:
    created = populated(server, tmp_path / "people.json", "--personas", "2")
    check(
        record(
            "populated",
            team=ID,
            rooms=each(
                record("made room", id=ID, members=each(record("made", user=ID, token=TEXT)))
            ),
        ),
        created,
    )
    rooms = created["rooms"]
    tokens = {one["token"] for room in rooms for one in room["members"]}
    assert [len(room["members"]) for room in rooms] == [2, 2, 2]
    assert len(tokens) == 6

    first = Person(**rooms[0]["members"][0])
    me = server.request("GET", "/me", first).body
    assert [team["role"] for team in me["teams"] if team["id"] == created["team"]] == ["owner"]
    for room in rooms:
        person = Person(**room["members"][0])
        seen = server.request("GET", f"/rooms/{room['id']}", person).body
        assert (seen["privacy"], seen["answer_policy"]) == ("private", "default")
        listed = server.request("GET", f"/rooms/{room['id']}/members", person).body["items"]
        roles = {one["user"]: one["role"] for one in listed}
        assert roles[person.user] == "owner"
        assert set(roles) == {one["user"] for one in room["members"]}
        async with server.client(person) as client:
            assert len((await client.join(room["id"]))["state"]["personas"]) == 2
            run = (await client.send(room["id"], "hello", personas=None))["runs"][0]
            ended = await client.ended(run)
            assert ended["type"] == "run.completed"
            assert client.of_run(run)[-2]["message"]["text"]


async def test_populate_binds_one_persona_per_model_to_every_room(
    server: Server, rooms: list[PopulatedRoom]
) -> None:
    for room in rooms[:2]:
        async with server.client(room.members[1]) as client:
            personas = (await client.join(room.id))["state"]["personas"]
            assert [persona["handle"] for persona in personas] == list(MODELS)
