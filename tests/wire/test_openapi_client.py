"""A client generated from the OpenAPI schema executes every operation."""

import copy
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.deadlines import DEADLINE
from tests.live import PopulatedRoom, until
from tests.wire.openapi_client import OpenApiClient, Refused
from tests.wire.server import UNKNOWN_ID, Server


@pytest.fixture
def client(server: Server, foreign: PopulatedRoom) -> OpenApiClient:
    """A client with an admin token of a team's owner."""
    _, token = server.create_token(foreign.members[0], scopes=["admin"])
    return OpenApiClient(server.installation.url, token)


def test_schema_is_valid_and_names_each_operation_once(client: OpenApiClient) -> None:
    named = [
        operation["operationId"]
        for methods in client.schema["paths"].values()
        for operation in methods.values()
    ]
    text = str(client.schema)
    references = set(re.findall(r"#/components/schemas/([\w.]+)", text))

    assert len(named) == len(set(named)) > 40
    assert all(re.fullmatch("(get|post|put|patch|delete)(_[a-z]+)+", name) for name in named)
    assert references <= set(client.schema["components"]["schemas"])
    for schema in client.schema["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_client_executes_every_operation(
    client: OpenApiClient, server: Server, foreign: PopulatedRoom
) -> None:
    """Every operation of the schema except the stream and the wire schema."""
    friend = OpenApiClient(
        server.installation.url, server.create_token(foreign.members[1], scopes=["admin"])[1]
    )

    change_profile_and_tokens(client)
    team = create_team(client, friend)
    connection, persona = configure(client, team)
    give_tools(client, team, persona, connection)
    room = set_up_room(client, friend, team, persona)
    answer = exchange_messages(client, room)
    reply_to(client, friend, team, room, answer)
    ask_for_what_is_missing(client, team)
    remove_everything(client, friend, team, room, persona)
    assert client.get_team_audit(team_id=team)["items"]
    client.delete_team_connection(team_id=team, connection_id=connection)
    transfer_team(client, friend, team)

    assert set(client.operations) - client.used - friend.used == {"get_room_stream", "get_wire"}


def change_profile_and_tokens(client: OpenApiClient) -> None:
    client.patch_me(wood="zelkova")
    assert client.get_me()["wood"] == "zelkova"
    token = client.post_me_token(name="another")
    assert token["id"] in [one["id"] for one in client.get_me_tokens()["items"]]
    client.delete_me_token(token_id=token["id"])


def create_team(client: OpenApiClient, friend: OpenApiClient) -> str:
    team: str = client.post_team(name="Made by a client")["id"]
    assert team in [one["id"] for one in client.get_teams()["items"]]
    assert client.patch_team(team_id=team, name="한결")["name"] == "한결"
    assert client.get_team(team_id=team)["role"] == "owner"
    invitation = client.post_team_invitation(team_id=team, role="member")
    assert client.get_team_invitations(team_id=team)["items"][0]["id"] == invitation["id"]
    friend.post_invitation_accept(token=invitation["token"])
    client.patch_team_member(team_id=team, member_id=friend.get_me()["id"], role="admin")
    assert len(client.get_team_members(team_id=team)["items"]) == 2
    spare = client.post_team_invitation(team_id=team)["id"]
    client.delete_team_invitation(team_id=team, invitation_id=spare)
    return team


def configure(client: OpenApiClient, team: str) -> tuple[str, str]:
    connection: str = client.post_team_connection(team_id=team, name="Demo", kind="demo")["id"]
    connection_path = {"team_id": team, "connection_id": connection}
    client.patch_team_connection(**connection_path, name="Ours")
    assert client.get_team_connection(**connection_path)["name"] == "Ours"
    assert client.post_team_connection_check(**connection_path)["ok"] is True
    assert len(client.get_team_connections(team_id=team)["items"]) == 1
    fields = {"name": "누리", "role": "Scribe", "goal": "Write.", "model": "demo"}
    persona: str = client.post_team_persona(team_id=team, connection=connection, **fields)["id"]
    client.patch_persona(persona_id=persona, temperature=0.5)
    assert len(client.get_persona_versions(persona_id=persona)["items"]) == 2
    assert client.post_persona_version_restore(persona_id=persona, number=1)["version"] == 3
    assert client.get_persona(persona_id=persona)["temperature"] is None
    assert len(client.get_team_personas(team_id=team)["items"]) == 1
    return connection, persona


def give_tools(client: OpenApiClient, team: str, persona: str, connection: str) -> None:
    tools = client.get_team_tools(team_id=team)["items"]
    policies = [{"tool": tool["id"], "policy": "ask"} for tool in tools]
    assert len(client.put_persona_tools(persona_id=persona, tools=policies)["tools"]) == len(tools)
    assert client.put_persona_tools(persona_id=persona, tools=[])["tools"] == []
    assert client.get_persona_tools(persona_id=persona)["tools"] == []
    assert client.get_team_mcp_servers(team_id=team)["items"] == []
    agents = "scribe:\n  role: Scribe\n  goal: Write.\n"
    imported = client.post_team_persona_import(team_id=team, agents=agents, connection=connection)
    client.delete_persona(persona_id=imported["personas"][0]["id"])


def ask_for_what_is_missing(client: OpenApiClient, team: str) -> None:
    """Execute operations on what only a run with tools, a round or a server makes."""
    server = {"team_id": team, "server_id": UNKNOWN_ID}
    tool = {"team_id": team, "tool_id": UNKNOWN_ID}
    decision = {"decision": "deny", "arguments_sha256": "0" * 64}
    calls: list[tuple[Any, dict[str, Any]]] = [
        (client.get_team_mcp_server, server),
        (client.patch_team_mcp_server, {**server, "name": "x"}),
        (client.delete_team_mcp_server, server),
        (client.post_team_mcp_server_check, server),
        (client.post_team_mcp_server_refresh, server),
        (client.patch_team_tool, {**tool, "changes": True}),
        (client.post_team_tool_approve, {**tool, "sha256": "0" * 64}),
        (client.get_round, {"round_id": UNKNOWN_ID}),
        (client.post_round_cancel, {"round_id": UNKNOWN_ID}),
        (client.post_round_skip, {"round_id": UNKNOWN_ID}),
        (client.get_approval, {"approval_id": UNKNOWN_ID}),
        (client.post_approval_decide, {"approval_id": UNKNOWN_ID, **decision}),
        (client.post_run_call_show, {"run_id": UNKNOWN_ID, "call_id": UNKNOWN_ID}),
        (client.get_question, {"question_id": UNKNOWN_ID}),
        (client.post_question_answer, {"question_id": UNKNOWN_ID, "text": "yes"}),
        (client.post_question_close, {"question_id": UNKNOWN_ID}),
    ]
    for call, values in calls:
        with pytest.raises(Refused) as refused:
            call(**values)
        assert refused.value.code == "not_found"
    refused_url = {"name": "Files", "url": "https://127.0.0.1/mcp", "auth": "none"}
    with pytest.raises(Refused) as refused:
        client.post_team_mcp_server(team_id=team, **refused_url)
    assert refused.value.code == "invalid"
    assert client.get_approvals()["items"] == client.get_questions()["items"] == []


def set_up_room(client: OpenApiClient, friend: OpenApiClient, team: str, persona: str) -> str:
    room: str = client.post_team_room(team_id=team, name="대청")["id"]
    client.patch_room(room_id=room, topic="넓은 마루")
    assert client.get_room(room_id=room)["topic"] == "넓은 마루"
    assert [one["id"] for one in client.get_team_rooms(team_id=team)["items"]] == [room]
    client.put_room_persona(room_id=room, persona_id=persona)
    client.put_room_member(room_id=room, member_id=friend.get_me()["id"], role="member")
    assert len(client.get_room_members(room_id=room)["items"]) == 2
    client.put_persona_rooms(persona_id=persona, rooms=[room])
    assert client.get_persona_rooms(persona_id=persona)["rooms"] == [room]
    grants = client.get_persona_grants(persona_id=persona)["grants"]
    requested = [{name: value for name, value in grant.items() if value} for grant in grants]
    assert client.put_persona_grants(persona_id=persona, grants=requested)["grants"] == grants
    return room


def exchange_messages(client: OpenApiClient, room: str) -> str:
    me = client.get_me()["id"]
    posted = client.post_room_message(room_id=room, text="안녕하세요")
    (run,) = posted["runs"]
    until(lambda: client.get_run(run_id=run)["state"] == "completed", DEADLINE)
    message = posted["message"]["id"]
    client.patch_message(message_id=message, text="안녕하세요!")
    client.put_message_reaction(message_id=message, emoji="👍")
    assert client.get_message(message_id=message)["reactions"] == {"👍": [me]}
    client.delete_message_reaction(message_id=message, emoji="👍")
    assert len(client.get_room_messages(room_id=room)["items"]) == 2
    client.post_run_cancel(run_id=run)
    again = client.post_run_retry(run_id=run)["id"]
    until(lambda: client.get_run(run_id=again)["state"] == "completed", DEADLINE)
    with pytest.raises(Refused) as refused:
        client.post_run_retry(run_id=run)
    assert refused.value.code == "conflict"
    answered = client.get_run(run_id=again)
    assert client.get_run_calls(run_id=again)["items"] == []
    assert client.get_room_summary(room_id=room)["text"] == ""
    with pytest.raises(Refused) as refused:
        client.post_run_steer(run_id=again, text="shorter")
    assert refused.value.code == "conflict"
    until(lambda: has_prompt(client, again), DEADLINE)
    use_answer(client, room, answered)
    client.delete_message(message_id=message)
    kinds = {event["type"] for event in client.get_room_events(room_id=room)["items"]}
    assert {"message.deleted", "reaction.changed", "run.completed"} <= kinds
    answer: str = answered["answer"]
    return answer


def has_prompt(client: OpenApiClient, run: str) -> bool:
    """Return True if the record of what was sent is stored, which happens after the answer."""
    try:
        return bool(client.get_run_prompt(run_id=run)["requests"])
    except Refused:
        return False


def use_answer(client: OpenApiClient, room: str, run: dict[str, Any]) -> None:
    """Pin an answer and vote on it."""
    answer = run["answer"]
    client.put_message_pin(message_id=answer)
    assert [one["id"] for one in client.get_room_pins(room_id=room)["items"]] == [answer]
    client.delete_message_pin(message_id=answer)
    assert client.put_message_vote(message_id=answer, value=1, note="Yes")["mine"] == 1
    assert client.get_room_votes(room_id=room)["items"][0]["message"] == answer
    assert client.get_persona_votes(persona_id=run["persona"])["items"][0]["note"] == "Yes"
    assert client.put_room_read(room_id=room, seq=0)["unread"] == 2
    placed = client.patch_room_place(room_id=room, favourite=True)
    assert placed == client.get_room_place(room_id=room) == {"muted": False, "favourite": True}


def reply_to(
    client: OpenApiClient, friend: OpenApiClient, team: str, room: str, answer: str
) -> None:
    """Write in the thread of an answer, follow it, and open a direct room."""
    client.post_room_message(room_id=room, text="답글", reply_to=answer, personas=[])
    client.put_message_follow(message_id=answer)
    assert client.get_message_follow(message_id=answer)
    assert len(client.get_team_threads(team_id=team)["items"]) == 1
    client.delete_message_follow(message_id=answer)
    with pytest.raises(Refused) as refused:
        client.post_message_continue(message_id=answer)
    assert refused.value.code == "conflict"
    users = [friend.get_me()["id"]]
    assert client.post_team_direct(team_id=team, users=users, personas=[])["direct"] is True


def remove_everything(
    client: OpenApiClient, friend: OpenApiClient, team: str, room: str, persona: str
) -> None:
    friend_id = friend.get_me()["id"]
    client.delete_room_persona(room_id=room, persona_id=persona)
    client.delete_room_member(room_id=room, member_id=friend_id)
    client.delete_room(room_id=room)
    client.delete_persona(persona_id=persona)
    member_path = {"team_id": team, "member_id": friend_id}
    assert client.patch_team_member(**member_path, suspended=True)["suspended"] is True
    assert client.patch_team_member(**member_path, suspended=False)["suspended"] is False
    client.delete_team_member(**member_path)


def transfer_team(client: OpenApiClient, friend: OpenApiClient, team: str) -> None:
    """Transfer the team, delete it as the new owner, and restore it."""
    invitation = client.post_team_invitation(team_id=team, role="owner", email="", max_uses=2)
    friend.post_invitation_accept(token=invitation["token"])
    assert client.put_team_owner(team_id=team, user=friend.get_me()["id"])["role"] == "admin"
    name = friend.get_team(team_id=team)["name"]
    assert friend.post_team_delete(team_id=team, name=name)["id"] == team
    assert friend.post_team_restore(team_id=team)["role"] == "owner"


def test_response_that_differs_from_the_schema_fails(client: OpenApiClient) -> None:
    """The control: each wrong schema fails."""
    components = client.contract._components
    shape = components["schemas"]["MeBody"]
    lies = [
        {**shape, "properties": {k: v for k, v in shape["properties"].items() if k != "handle"}},
        {**shape, "required": [*shape["required"], "shoe_size"]},
        {**shape, "properties": {**shape["properties"], "name": {"type": "integer"}}},
    ]
    for lie in lies:
        client.contract._components = copy.deepcopy(components)
        client.contract._components["schemas"]["MeBody"] = lie
        with pytest.raises(ValidationError):
            client.get_me()


def test_error_responses_match_the_schema(client: OpenApiClient) -> None:
    for call, values in (
        (client.get_room, {"room_id": UNKNOWN_ID}),
        (client.get_run, {"run_id": UNKNOWN_ID}),
        (client.get_persona, {"persona_id": UNKNOWN_ID}),
        (client.get_room_stream, {"room_id": UNKNOWN_ID}),
    ):
        with pytest.raises(Refused) as refused:
            call(**values)
        assert (refused.value.status, refused.value.code) == (404, "not_found")
