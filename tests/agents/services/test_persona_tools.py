"""The tools of a persona: which it has, who may change them, and their versions."""

from functools import partial
from importlib import import_module
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.errors import Forbidden, Invalid, NotFound
from accounts.models import AuditEntry, Team
from agents import services
from agents.models import McpServer, Persona, PersonaTool, Tool
from agents.provider_keys import encrypt
from agents.services import Grant, ToolChoice
from agents.services.persona_tools import MAX_TOOLS
from agents.tools.catalog import CATALOG
from agents.tools.registry import specs_for, tools_of_team
from tests.agents.cast import Cast

CLOCK, SEARCH, FETCH = (
    next(tool.id for tool in CATALOG if tool.key == key)
    for key in ("clock", "search_room", "fetch_page")
)


def server(team: Team, name: str = "Files", **changes: object) -> McpServer:
    values = {"name": name, "prefix": name.lower(), "url": "https://203.0.113.7/mcp"}
    return McpServer.objects.create(team=team, **values | changes)


def tool(of: McpServer | None, key: str = "read", **changes: object) -> Tool:
    values = {
        "name": f"{of.prefix if of else 'installed'}_{key}",
        "title": key.title(),
        "changes": False,
        "sha256": "a",
        "approved_sha256": "a",
    }
    return Tool.objects.create(team=of.team if of else None, server=of, key=key, **values | changes)


def put(cast: Cast, *tools: UUID, policy: str = "always", by: str = "admin") -> Persona:
    choices = [ToolChoice(each, policy) for each in tools]
    user = getattr(cast, by)
    return services.update_persona(user=user, persona_id=cast.persona.pk, tools=choices)


def names(persona: Persona) -> list[str]:
    return [spec.name for spec in specs_for(persona)]


def editor(cast: Cast) -> str:
    """Let the member edit the persona, without a right in the team; return the name."""
    grants = [Grant(frozenset({"edit"}), cast.member.pk)]
    services.put_grants(user=cast.owner, persona_id=cast.persona.pk, grants=grants)
    return "member"


def test_a_team_has_our_tools_those_of_its_servers_and_of_the_operator(cast: Cast) -> None:
    own = tool(server(cast.team))
    installed = tool(None)
    tool(server(Team.objects.exclude(pk=cast.team.pk).get(), "Foreign"))
    tool(own.server, "gone", listed=False)

    found = tools_of_team(cast.team)

    assert [each.id for each in found] == [*(t.id for t in CATALOG), *sorted_ids(own, installed)]


def sorted_ids(own: Tool, installed: Tool) -> list[UUID]:
    """Return the ids in the order of the database: SQLite has NULL first, PostgreSQL last."""
    last = connection.vendor == "postgresql"
    return [own.pk, installed.pk] if last else [installed.pk, own.pk]


def test_a_persona_gets_the_tools_that_it_may_use(cast: Cast) -> None:
    files = server(cast.team, headers_encrypted=encrypt('{"Authorization": "Bearer x"}'))
    read = tool(files)

    put(cast, CLOCK, read.pk)

    own, remote = specs_for(cast.persona)
    assert (own.name, own.source, own.reach, own.server) == ("clock", "own", "room", None)
    assert own.parameters["additionalProperties"] is False
    assert (remote.name, remote.source, remote.key) == ("files_read", "mcp", "read")
    assert remote.server is not None
    assert remote.server.headers == {"Authorization": "Bearer x"}
    assert "Bearer" not in repr(remote)


@pytest.mark.parametrize(
    ("of_tool", "of_server"),
    [
        ({"approved_sha256": "b"}, {}),
        ({"approved_sha256": ""}, {}),
        ({"listed": False}, {}),
        ({}, {"enabled": False}),
        ({}, {"headers_encrypted": "not readable"}),
    ],
)
def test_an_unusable_tool_is_left_out(
    cast: Cast, of_tool: dict[str, object], of_server: dict[str, object]
) -> None:
    files = server(cast.team)
    read = tool(files)
    put(cast, CLOCK, read.pk)
    assert names(cast.persona) == ["clock", "files_read"]

    Tool.objects.filter(pk=read.pk).update(**of_tool)
    McpServer.objects.filter(pk=files.pk).update(**of_server)

    assert names(cast.persona) == ["clock"] or not (of_tool or of_server)


def test_a_deleted_tool_and_one_of_another_team_are_left_out(cast: Cast) -> None:
    read = tool(server(cast.team))
    foreign = tool(server(Team.objects.exclude(pk=cast.team.pk).get(), "Foreign"))
    put(cast, CLOCK, read.pk)
    PersonaTool.objects.create(persona=cast.persona, tool=foreign.pk, policy="always")

    read.delete()

    assert names(cast.persona) == ["clock"]


def test_names_are_unique_and_our_own_names_stay(cast: Cast) -> None:
    first = tool(None, "a.b:Clock", name="clock")
    second = tool(None, "c.d:Clock", name="clock")
    put(cast, first.pk, second.pk, CLOCK)

    specs = specs_for(cast.persona)

    assert [(spec.name, spec.source) for spec in specs] == [
        ("clock", "own"),
        ("clock_2", "installed"),
        ("clock_3", "installed"),
    ]


def test_the_asker_signs_in_where_each_person_does(cast: Cast) -> None:
    personal = tool(server(cast.team, "Mine", personal=True))
    shared = tool(server(cast.team, "Ours"))
    put(cast, personal.pk, shared.pk)

    users = {s.name: s.server and s.server.user for s in specs_for(cast.persona, cast.member.pk)}

    assert users == {"mine_read": cast.member.pk, "ours_read": None}


def test_tools_cost_two_queries(cast: Cast) -> None:
    put(cast, CLOCK, SEARCH, tool(server(cast.team)).pk, tool(None).pk)
    specs_for(cast.persona)

    with CaptureQueriesContext(connection) as queries:
        specs = specs_for(cast.persona)

    assert (len(specs), len(queries)) == (4, 2)


def test_a_change_of_tools_is_a_version_and_is_audited(cast: Cast) -> None:
    put(cast, CLOCK)
    put(cast, CLOCK)
    put(cast, CLOCK, FETCH, policy="ask")

    versions = list(cast.persona.versions.all())
    assert [(each.number, each.changed) for each in versions[:2]] == [
        (3, ["tools"]),
        (2, ["tools"]),
    ]
    assert [each["policy"] for each in versions[0].fields["tools"]] == ["ask", "ask"]
    entry = AuditEntry.objects.filter(action="persona.changed").latest("number")
    assert entry.after["tools"] == {str(CLOCK): "ask", str(FETCH): "ask"}


def test_a_restored_version_brings_its_tools_back_as_far_as_they_exist(cast: Cast) -> None:
    read = tool(server(cast.team))
    put(cast, CLOCK, read.pk, policy="ask")
    put(cast, SEARCH)
    read.delete()

    services.restore_persona(user=cast.admin, persona_id=cast.persona.pk, number=2)

    assert services.list_tools(cast.persona) == [ToolChoice(CLOCK, "ask")]


def test_a_version_from_before_there_were_tools_leaves_them_as_they_are(cast: Cast) -> None:
    version = cast.persona.versions.get()
    del version.fields["tools"]
    version.save()
    put(cast, CLOCK)

    services.restore_persona(user=cast.admin, persona_id=cast.persona.pk, number=1)

    assert names(cast.persona) == ["clock"]


def test_only_an_admin_lets_a_persona_change_something_without_asking(cast: Cast) -> None:
    write = tool(server(cast.team), "write", changes=True)
    by = editor(cast)

    with pytest.raises(Forbidden) as refused:
        put(cast, write.pk, by=by)
    assert "Only a team admin" in str(refused.value.detail)
    put(cast, write.pk, CLOCK, policy="ask", by=by)
    put(cast, CLOCK, by=by)
    put(cast, write.pk)  # by an admin
    put(cast, write.pk, CLOCK, by=by)  # stays as the admin has chosen

    assert names(cast.persona) == ["clock", "files_write"]


def test_only_an_admin_lets_a_persona_connect_to_any_address_without_asking(cast: Cast) -> None:
    """The model chooses the address, so a text that it reads can choose it."""
    anywhere, inside = tool(None, "a.b:Any"), tool(None, "a.b:In", name="inside", reach="team")
    read = tool(server(cast.team))  # an admin has entered its address, and says that it only reads
    by = editor(cast)

    for each in (FETCH, anywhere.pk):
        with pytest.raises(Forbidden) as refused:
            put(cast, each, by=by)
        assert "Only a team admin" in str(refused.value.detail)
    put(cast, FETCH, anywhere.pk, policy="ask", by=by)
    put(cast, inside.pk, read.pk, CLOCK, by=by)
    put(cast, FETCH, anywhere.pk)  # by an admin

    needing = {each.id for each in tools_of_team(cast.team) if each.needs_admin}
    assert needing == {FETCH, anywhere.pk}


def test_stored_always_of_a_tool_that_connects_anywhere_asks_after_the_upgrade(cast: Cast) -> None:
    anywhere, read = tool(None, "a.b:Any"), tool(server(cast.team))
    put(cast, FETCH, anywhere.pk, read.pk, CLOCK)

    migration = import_module("agents.migrations.0008_ask_before_connecting_anywhere")
    migration.ask_first(apps, None)

    held = {each.tool: each.policy for each in services.list_tools(cast.persona)}
    assert held == {FETCH: "ask", anywhere.pk: "ask", read.pk: "always", CLOCK: "always"}


@pytest.mark.parametrize("policy", ["ask", "always"])
def test_only_an_admin_takes_the_decision_from_moderators(cast: Cast, policy: str) -> None:
    read = tool(server(cast.team)).pk
    moderated = [ToolChoice(read, "ask", "moderators")]
    looser = [ToolChoice(read, policy, "moderators" if policy == "always" else "asker")]
    update = partial(services.update_persona, persona_id=cast.persona.pk)
    update(user=cast.admin, tools=looser)
    update(user=cast.admin, tools=moderated)
    member = getattr(cast, editor(cast))

    for _ in range(2):
        with pytest.raises(Forbidden):
            update(user=member, tools=looser)
        with pytest.raises(Forbidden):
            services.restore_persona(user=member, persona_id=cast.persona.pk, number=2)
        update(user=member, tools=[])  # and adds it again
        update(user=member, tools=[ToolChoice(read, "never")])
    update(user=member, tools=moderated)
    update(user=cast.admin, tools=[])
    update(user=member, tools=looser)

    assert services.list_tools(cast.persona) == looser


def test_a_restore_does_not_let_an_editor_free_a_tool(cast: Cast) -> None:
    write = tool(server(cast.team), "write", changes=True)
    put(cast, write.pk)
    put(cast, write.pk, policy="ask")

    with pytest.raises(Forbidden):
        services.restore_persona(
            user=getattr(cast, editor(cast)), persona_id=cast.persona.pk, number=2
        )

    assert services.list_tools(cast.persona) == [ToolChoice(write.pk, "ask")]


def test_a_tool_of_another_team_is_as_absent_as_an_unknown_one(cast: Cast) -> None:
    foreign = tool(server(Team.objects.exclude(pk=cast.team.pk).get(), "Foreign"))

    for absent in (foreign.pk, uuid4()):
        with pytest.raises(NotFound):
            put(cast, CLOCK, absent)

    assert names(cast.persona) == []


def test_a_persona_has_a_limited_number_of_tools_each_once(cast: Cast) -> None:
    files = server(cast.team)
    many = [tool(files, f"t{number}").pk for number in range(MAX_TOOLS + 1)]

    with pytest.raises(Invalid):
        put(cast, *many)
    with pytest.raises(Invalid):
        put(cast, CLOCK, CLOCK)
    put(cast, *many[:MAX_TOOLS])

    assert len(names(cast.persona)) == MAX_TOOLS


def test_the_tools_of_a_new_persona_are_part_of_its_first_version(cast: Cast) -> None:
    persona = services.create_persona(
        user=cast.admin,
        team_id=cast.team.pk,
        name="Byeori",
        role="Review",
        goal="Find it.",
        connection=cast.connection.pk,
        model="small",
        tools=[ToolChoice(CLOCK, "always"), ToolChoice(FETCH, "never")],
    )

    assert names(persona) == ["clock"]
    stored = persona.versions.get().fields["tools"]
    assert [each["policy"] for each in stored] == ["always", "never"]
