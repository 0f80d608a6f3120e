"""Services for personas and their versions."""

from typing import cast as typed
from uuid import uuid4

import pytest

from accounts.errors import Conflict, Invalid, NotFound
from accounts.models import User
from agents import services
from agents.engine_types import AnswerFailed
from agents.hooks import AgentHooks, agent_hooks
from agents.models import Persona
from agents.services import PersonaFields
from tests.agents.cast import KEY, REFUSED, URL, Cast, connect


def fields(cast: Cast, **changes: object) -> PersonaFields:
    defaults: dict[str, object] = {
        "name": "Byeori",
        "role": "Code review",
        "goal": "Find what breaks.",
        "connection": cast.connection.pk,
        "model": "small",
    }
    return typed("PersonaFields", defaults | changes)  # some tests pass wrong types


def numbers(persona: Persona) -> list[int]:
    return list(persona.versions.values_list("number", flat=True))


def test_a_new_persona_is_version_1(cast: Cast) -> None:
    persona = services.create_persona(user=cast.admin, team_id=cast.team.pk, **fields(cast))

    assert persona.version == 1
    assert persona.handle == "byeori"
    assert numbers(persona) == [1]
    assert persona.versions.get().created_by == cast.admin


def test_new_personas_have_tiles_unlike_each_other(cast: Cast) -> None:
    def tile(number: int) -> tuple[str, str]:
        given = fields(cast, name=f"Persona {number}")
        persona = services.create_persona(user=cast.admin, team_id=cast.team.pk, **given)
        return persona.pigment, persona.lattice

    tiles = [(cast.persona.pigment, cast.persona.lattice), *map(tile, range(1, 36))]

    assert len(set(tiles)) == 36
    for part in (0, 1):
        assert len({each[part] for each in tiles[:6]}) == 6
    tile(36)  # a team may have more personas than there are tiles


def test_each_saved_change_is_a_version_with_the_changed_fields(cast: Cast) -> None:
    services.update_persona(
        user=cast.admin, persona_id=cast.persona.pk, goal="Find more.", temperature=0.5
    )

    newest = cast.persona.versions.first()
    assert newest is not None
    assert newest.number == 2
    assert newest.changed == ["goal", "temperature"]
    assert newest.fields["goal"] == "Find more."


def test_an_update_without_a_difference_makes_no_version(cast: Cast) -> None:
    services.update_persona(
        user=cast.owner,
        persona_id=cast.persona.pk,
        name="Garam",
        handle="garam",
        goal="Find evidence. ",
    )

    assert numbers(cast.persona) == [1]


def test_a_restored_version_becomes_the_newest(cast: Cast) -> None:
    services.update_persona(
        user=cast.owner, persona_id=cast.persona.pk, goal="Other.", max_output_tokens=5
    )

    persona = services.restore_persona(user=cast.admin, persona_id=cast.persona.pk, number=1)

    assert (persona.goal, persona.max_output_tokens) == ("Find evidence.", None)
    assert numbers(cast.persona) == [3, 2, 1]


def test_restoring_a_version_with_a_deleted_connection_keeps_the_present_one(cast: Cast) -> None:
    second = connect(cast.owner, cast.team, name="Second")
    services.update_persona(
        user=cast.owner,
        persona_id=cast.persona.pk,
        connection=second.pk,
        model="small",
        goal="Other.",
    )
    services.delete_connection(user=cast.owner, connection_id=cast.connection.pk)

    persona = services.restore_persona(user=cast.owner, persona_id=cast.persona.pk, number=1)

    assert persona.goal == "Find evidence."
    assert (persona.connection, persona.model) == (second, "small")


def test_an_unknown_version_is_not_found(cast: Cast) -> None:
    with pytest.raises(NotFound):
        services.restore_persona(user=cast.owner, persona_id=cast.persona.pk, number=9)


def test_an_update_of_an_older_version_conflicts(cast: Cast) -> None:
    services.update_persona(user=cast.owner, persona_id=cast.persona.pk, version=1, goal="Mine.")

    with pytest.raises(Conflict):
        services.update_persona(
            user=cast.admin, persona_id=cast.persona.pk, version=1, goal="Theirs."
        )

    cast.persona.refresh_from_db()
    assert cast.persona.goal == "Mine."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "\u200b"),
        ("handle", "two words"),
        ("role", ""),
        ("role", "r" * 81),
        ("goal", ""),
        ("goal", "g" * 401),
        ("backstory", "b" * 2_001),
        ("instructions", "i" * 8_001),
        ("model", ""),
        ("temperature", 2.1),
        ("temperature", float("nan")),
        ("max_output_tokens", 0),
        ("pigment", "gold"),
        ("lattice", "upload"),
    ],
)
def test_an_invalid_value_is_an_error_of_its_field(cast: Cast, name: str, value: object) -> None:
    with pytest.raises(Invalid) as refused:
        services.create_persona(
            user=cast.owner, team_id=cast.team.pk, **fields(cast, **{name: value})
        )

    assert name in (refused.value.fields or {})


def test_a_persona_needs_a_connection(cast: Cast) -> None:
    incomplete = fields(cast)
    del incomplete["connection"]

    with pytest.raises(Invalid) as refused:
        services.create_persona(user=cast.owner, team_id=cast.team.pk, **incomplete)

    assert "connection" in (refused.value.fields or {})


def test_a_connection_of_another_team_is_not_found(cast: Cast) -> None:
    with pytest.raises(NotFound):
        services.update_persona(
            user=cast.owner, persona_id=cast.persona.pk, connection=cast.foreign.pk
        )


def test_the_name_and_the_handle_are_cleaned(cast: Cast) -> None:
    persona = services.create_persona(
        user=cast.owner,
        team_id=cast.team.pk,
        **fields(cast, name="Bye\u202eori \U0001f170\U0001f178", handle="@가람-2"),
    )

    assert (persona.name, persona.handle) == ("Byeori", "가람-2")


def test_the_role_is_one_line_without_imitated_badges(cast: Cast) -> None:
    persona = services.update_persona(
        user=cast.owner, persona_id=cast.persona.pk, role="Data\n\u202eteam \U0001f170\U0001f178"
    )

    assert persona.role == "Data team"


def test_the_handle_is_unique_in_the_team(cast: Cast) -> None:
    with pytest.raises(Conflict) as refused:
        services.create_persona(
            user=cast.owner, team_id=cast.team.pk, **fields(cast, handle="GARAM")
        )

    assert "handle" in (refused.value.fields or {})


def test_a_handle_made_from_the_name_gets_a_number_if_it_is_taken(cast: Cast) -> None:
    persona = services.create_persona(
        user=cast.owner, team_id=cast.team.pk, **fields(cast, name="Garam")
    )

    assert persona.handle == "garam-2"


def test_a_text_keeps_its_lines_and_loses_control_characters(cast: Cast) -> None:
    persona = services.update_persona(
        user=cast.owner,
        persona_id=cast.persona.pk,
        instructions="one\r\ntwo\x00\x1b[31m\ud800 {input}\n",
    )

    assert persona.instructions == "one\ntwo[31m {input}"


def test_a_persona_can_be_switched_off_and_on(cast: Cast) -> None:
    off = services.set_persona_enabled(user=cast.admin, persona_id=cast.persona.pk, enabled=False)
    assert not off.enabled

    on = services.set_persona_enabled(user=cast.admin, persona_id=cast.persona.pk, enabled=True)
    assert on.enabled
    assert numbers(cast.persona) == [1]


def test_hooks_run_after_a_change_and_before_a_deletion(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    class Recorder(AgentHooks):
        def persona_changed(self, persona: Persona) -> None:
            calls.append(f"{persona.name} changed")

        def persona_deleted(self, persona: Persona) -> None:
            calls.append(f"{persona.name} deleted")

    monkeypatch.setattr(agent_hooks, "_implementations", [Recorder()])

    services.update_persona(user=cast.owner, persona_id=cast.persona.pk, name="Onsae")
    services.delete_persona(user=cast.owner, persona_id=cast.persona.pk)

    assert calls == ["Onsae changed", "Onsae deleted"]


@pytest.mark.parametrize(("who", "error"), REFUSED)
def test_only_owners_and_admins_may_change_personas(
    cast: Cast, who: str, error: type[Exception]
) -> None:
    user: User = getattr(cast, who)
    persona_id = cast.persona.pk

    with pytest.raises(error):
        services.create_persona(user=user, team_id=cast.team.pk, **fields(cast))
    with pytest.raises(error):
        services.update_persona(user=user, persona_id=persona_id, goal="Mine.")
    with pytest.raises(error):
        services.restore_persona(user=user, persona_id=persona_id, number=1)
    with pytest.raises(error):
        services.set_persona_enabled(user=user, persona_id=persona_id, enabled=False)
    with pytest.raises(error):
        services.delete_persona(user=user, persona_id=persona_id)


def test_an_unknown_persona_is_not_found(cast: Cast) -> None:
    with pytest.raises(NotFound):
        services.delete_persona(user=cast.owner, persona_id=uuid4())


def test_the_spec_has_the_fields_of_the_engine_and_no_key_in_its_repr(cast: Cast) -> None:
    spec = services.build_spec(cast.persona)

    assert (spec.kind, spec.base_url, spec.key, spec.model) == ("openai", URL, KEY, "large")
    assert (spec.name, spec.role, spec.goal) == ("Garam", "Research", "Find evidence.")
    assert KEY not in repr(spec)


def test_an_unreadable_key_fails_the_answer(cast: Cast) -> None:
    cast.connection.key_encrypted = "broken"
    cast.connection.save()
    cast.persona.refresh_from_db()

    with pytest.raises(AnswerFailed) as failed:
        services.build_spec(cast.persona)

    assert failed.value.code == "not_allowed"


def test_demo_personas_share_one_connection_without_a_key(cast: Cast) -> None:
    first = services.create_demo_persona(user=cast.owner, team_id=cast.team.pk)
    second = services.create_demo_persona(user=cast.owner, team_id=cast.team.pk)

    assert first.connection == second.connection
    assert first.connection.kind == "demo"
    assert first.handle != second.handle
    assert services.build_spec(first).key == ""
