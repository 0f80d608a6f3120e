"""Personas from YAML: CrewAI's files and our own form, hostile texts, all or nothing."""

from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.errors import Conflict, Forbidden, Invalid, MaruError, NotFound, TooLarge
from agents import services
from agents.models import Persona
from agents.services import personas as persona_service
from agents.services.persona_yaml import MAX_BYTES, read_personas
from tests.agents.cast import Cast, connect

AGENTS = """
# As `crewai create crew` writes it.
researcher:
  role: >
    {topic} Senior Data Researcher
  goal: >
    Uncover cutting-edge developments in {topic}
  backstory: >
    You're a seasoned researcher.
  llm: openai/large
  verbose: true
  tools: [SerperDevTool]

reporting_analyst:
  role: Analyst
  goal: Create reports
  backstory: You are meticulous.
"""
TASKS = """
reporting_task:
  description: Review the context.
  expected_output: A report
  agent: reporting_analyst
research_task:
  description: Research {topic}.
  agent: researcher
check_task:
  description: Check the report.
  agent: reporting_analyst
"""


def load(cast: Cast, agents: str, **options: object) -> services.Imported:
    return services.import_personas(
        user=cast.admin,
        team_id=cast.team.pk,
        agents=agents,
        **options,  # type: ignore[arg-type]
    )


def mistakes(text: str, tasks: str = "") -> dict[str, str]:
    with pytest.raises(Invalid) as refused:
        read_personas(text, tasks)
    return {name: str(sentence) for name, sentence in (refused.value.fields or {}).items()}


def test_agents_of_crewai_become_personas(cast: Cast) -> None:
    cast.connection.model_names = ["small", "large"]
    cast.connection.save()

    imported = load(cast, AGENTS)

    first, second = imported.personas
    assert (first.name, first.handle, first.model) == ("Researcher", "researcher", "large")
    assert first.role == "{topic} Senior Data Researcher"
    assert first.backstory == "You're a seasoned researcher."
    assert (second.name, second.handle) == ("Reporting analyst", "reporting_analyst")
    assert (second.connection, second.model) == (cast.connection, "small")
    assert imported.ignored == {"researcher": ["tools", "verbose"]}
    assert not imported.in_turn


def test_tasks_give_the_order_and_the_instructions(cast: Cast) -> None:
    imported = load(cast, AGENTS, tasks=TASKS)

    assert [persona.handle for persona in imported.personas] == ["reporting_analyst", "researcher"]
    assert imported.in_turn
    assert imported.personas[0].instructions == (
        "Review the context.\nExpected answer: A report\n\nCheck the report."
    )


def test_own_form_has_all_fields_of_a_persona(cast: Cast) -> None:
    text = """
    personas:
      - &byeori
        name: 벼리
        handle: byeori
        role: Reviewer
        goal: Find what breaks.
        instructions: Be short.
        temperature: 0.5
        max_output_tokens: 900
        pigment: chija
        lattice: wanja
      - {<<: *byeori, name: Onsae, handle: onsae, temperature: null}
    """

    first, second = load(cast, text).personas

    assert (first.name, first.handle, first.temperature) == ("벼리", "byeori", 0.5)
    assert (first.max_output_tokens, first.pigment, first.lattice) == (900, "chija", "wanja")
    assert (second.name, second.role, second.temperature) == ("Onsae", "Reviewer", None)


def test_taken_handle_of_an_agent_gets_a_number_and_a_chosen_one_is_refused(cast: Cast) -> None:
    load(cast, AGENTS)

    assert [p.handle for p in load(cast, AGENTS).personas] == [
        "researcher-2",
        "reporting_analyst-2",
    ]
    with pytest.raises(Invalid) as refused:
        load(cast, "[{name: Other, handle: researcher, role: r, goal: g}]")
    assert set(refused.value.fields or {}) == {"researcher.handle"}


def test_every_mistake_is_named_and_nothing_is_created(cast: Cast) -> None:
    before = Persona.objects.count()

    with pytest.raises(Invalid) as refused:
        load(
            cast,
            f"""
            one: {{role: r, goal: g}}
            two: {{role: r, goal: {"x" * 401}}}
            three: {{goal: g}}
            """,
        )

    assert set(refused.value.fields or {}) == {"two.goal", "three.role"}
    assert Persona.objects.count() == before
    assert set(mistakes("one: {role: [r], goal: {a: b}}\ntwo: text")) == {
        "one.role",
        "one.goal",
        "two",
    }
    with pytest.raises(Invalid) as refused:
        load(cast, "[{name: One, role: r, goal: g, temperature: hot}]")
    assert set(refused.value.fields or {}) == {"One.temperature"}


def test_task_of_an_unknown_persona_is_named() -> None:
    found = mistakes("one: {role: r, goal: g}", "write: {agent: two}\nread: x")

    assert set(found) == {"tasks.write.agent", "tasks.read.agent"}


def nested(depth: int) -> str:
    return "a: " + "[" * depth


def merged(levels: int) -> str:
    lines = [f"b{n + 1}: &b{n + 1} {{<<: [*b{n}, *b{n}], y{n}: 1}}" for n in range(levels)]
    return "\n".join(["b0: &b0 {x: 1}", *lines])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "[]",
        "a: [b",
        "\t",
        "a: 1\na: 2",
        "? [a]\n: b",
        "a: &a [*a]",
        "a: *b",
        "--- {}\n--- {}",
        "a: \0",
        "a: \ud800",
        "{" * 100_000,
        nested(100_000),
        "- " * 100_000,
        merged(30),
        "a: &a [x]\n" + "".join(f"b{n}: *a\n" for n in range(100)),
        "\n".join(f"a{n}: {{role: r, goal: g}}" for n in range(51)),
        "a: [" + "x," * 50_000 + "]",
    ],
    ids=lambda text: text[:12].encode("unicode_escape").decode(),
)
def test_text_that_is_no_list_of_personas_is_refused_in_a_short_time(text: str) -> None:
    assert set(mistakes(text)) <= {"agents", "a", "b"}


def test_tags_construct_nothing(cast: Cast) -> None:
    call = '!!python/object/apply:os.system ["touch /tmp/x"]'

    assert set(mistakes(f"a: {{role: {call}, goal: g}}")) == {"a.role"}
    persona = load(cast, "a: {role: !!binary aGk=, goal: !!int 12}").personas[0]
    assert (persona.role, persona.goal) == ("aGk=", "12")


def test_long_text_that_is_repeated_by_aliases_is_refused_before_it_is_stored() -> None:
    agents = f"a: {{role: r, goal: &t {'x' * 100_000}}}\nb: {{role: r, goal: *t}}"
    tasks = f"t1: &t {{agent: a, description: {'x' * 100_000}}}\nt2: *t"

    assert set(mistakes(agents)) == {"a.goal", "b.goal"}
    assert set(mistakes("a: {role: r, goal: g}", tasks)) == {"a.instructions"}


def test_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(TooLarge):
        read_personas("#" * (MAX_BYTES + 1))


def test_connection_and_model_can_be_chosen(cast: Cast) -> None:
    other = connect(cast.admin, cast.team, "Other")
    other.model_names = ["big"]
    other.save()

    one = load(cast, "one: {role: r, goal: g}", connection=other.pk).personas[0]
    two = load(cast, "two: {role: r, goal: g}", model="odd").personas[0]

    assert (one.connection, one.model) == (other, "big")
    assert (two.connection, two.model) == (cast.connection, "odd")
    with pytest.raises(NotFound):
        load(cast, "one: {role: r, goal: g}", connection=uuid4())


def test_team_cannot_have_more_personas_by_an_import(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.services.persona_import.MAX_PERSONAS", 2)
    assert persona_service.MAX_PERSONAS > 2

    with pytest.raises(Conflict):
        load(cast, AGENTS)


def test_only_who_manages_personas_imports_them(cast: Cast) -> None:
    for user, error in ((cast.member, Forbidden), (cast.stranger, NotFound)):
        with pytest.raises(MaruError) as refused:
            services.import_personas(user=user, team_id=cast.team.pk, agents="[")
        assert isinstance(refused.value, error)


def test_page_imports_a_text_or_a_file_and_names_mistakes(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.admin)
    address = reverse("agents:persona_import", args=[cast.team.pk])
    assert "agents.yaml" in client.get(address).content.decode()

    wrong = client.post(address, {"agents": "<b>x</b>: {role: r}"}).content.decode()
    assert "&lt;b&gt;x&lt;/b&gt;.goal: " in wrong
    file = SimpleUploadedFile("agents.yaml", AGENTS.encode())
    done = client.post(address, {"agents": "ignored", "agents_file": file}, follow=True)

    assert "2 personas are imported." in done.content.decode()
    assert "researcher: tools, verbose" in done.content.decode()
    big = SimpleUploadedFile("agents.yaml", b"#" * (MAX_BYTES + 1))
    assert "larger than 256 KB" in client.post(address, {"agents_file": big}).content.decode()
