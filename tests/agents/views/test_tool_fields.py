"""The tools of a persona in the studio."""

import re

import pytest
from django.urls import reverse

from agents import services
from agents.models import Persona
from agents.services import ToolChoice
from agents.tools.catalog import CATALOG
from tests.agents.cast import Cast
from tests.agents.services.test_persona_tools import CLOCK, FETCH, SEARCH, editor, server, tool
from tests.agents.views.test_pages import Browse, browse, persona_form  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db


def address(cast: Cast) -> str:
    return reverse("agents:persona", args=[cast.team.pk, cast.persona.pk])


def radios(page: str, of: object) -> dict[str, str]:
    """Return the radio buttons of a tool by their value: their HTML."""
    found = re.findall(rf'<input type="radio" name="tool-{of}" value="(\w+)"([^>]*)>', page)
    return dict(found)


def test_chosen_tools_are_saved_as_a_version(cast: Cast, browse: Browse) -> None:  # noqa: F811
    form = persona_form(cast, deciders="moderators")
    form |= {f"tool-{CLOCK}": "always", f"tool-{FETCH}": "ask", f"tool-{SEARCH}": "never"}

    answer = browse(cast.admin).post(address(cast), form)

    assert answer.status_code == 302
    assert services.list_tools(cast.persona) == [
        ToolChoice(CLOCK, "always", "moderators"),
        ToolChoice(FETCH, "ask", "moderators"),
    ]
    page = browse(cast.admin).get(address(cast)).content.decode()
    assert "checked" in radios(page, FETCH)["ask"]
    assert "checked" in radios(page, SEARCH)["never"]
    assert '<option value="moderators" selected>' in page
    assert cast.persona.versions.first().changed == ["tools"]  # type: ignore[union-attr]


def test_a_form_without_tools_leaves_them_as_they_are(
    cast: Cast,
    browse: Browse,  # noqa: F811
) -> None:
    gone = tool(server(cast.team), "gone")
    held = [
        ToolChoice(CLOCK, "ask", "moderators"),
        ToolChoice(SEARCH, "never", "moderators"),
        ToolChoice(gone.pk, "ask", "moderators"),
    ]
    services.update_persona(user=cast.admin, persona_id=cast.persona.pk, tools=held)
    gone.listed = False
    gone.save()
    cast.persona.refresh_from_db()

    browse(cast.admin).post(address(cast), persona_form(cast, goal="Another goal."))

    assert set(services.list_tools(cast.persona)) == set(held)
    assert cast.persona.versions.first().changed == ["goal"]  # type: ignore[union-attr]


def test_an_editor_sees_a_lock_and_cannot_pass_it(
    cast: Cast,
    browse: Browse,  # noqa: F811
) -> None:
    files = server(cast.team, "<Files>")
    write, read = tool(files, "write", changes=True), tool(files, "read")
    client = browse(getattr(cast, editor(cast)))

    page = client.get(address(cast)).content.decode()
    forged = client.post(address(cast), persona_form(cast) | {f"tool-{write.pk}": "always"})

    assert "disabled" in radios(page, write.pk)["always"]
    assert "disabled" not in "".join(radios(page, read.pk).values())
    assert "disabled" in radios(page, FETCH)["always"]
    assert page.count("Only a team admin may choose Always.") == 2
    assert "&lt;Files&gt;" in page
    assert "Only a team admin may choose Always for a tool" in forged.content.decode()
    assert services.list_tools(cast.persona) == []
    assert (
        "disabled"
        not in radios(browse(cast.admin).get(address(cast)).content.decode(), write.pk)["always"]
    )


def test_an_editor_sees_that_moderators_go_on_deciding(
    cast: Cast,
    browse: Browse,  # noqa: F811
) -> None:
    held = [ToolChoice(CLOCK, "ask", "moderators")]
    services.update_persona(user=cast.admin, persona_id=cast.persona.pk, tools=held)
    cast.persona.refresh_from_db()
    client = browse(getattr(cast, editor(cast)))
    form = persona_form(cast) | {f"tool-{CLOCK}": "ask"}

    page = client.get(address(cast)).content.decode()
    forged = client.post(address(cast), form | {"deciders": "asker"}).content.decode()
    saved = client.post(address(cast), form | {f"tool-{SEARCH}": "ask"})

    assert '<option value="asker" disabled>' in page
    assert "Only a team admin may let the person who asked decide." in page
    assert "disabled" in radios(page, CLOCK)["always"]
    assert "Moderators decide on the calls of this tool." in forged
    assert saved.status_code == 302
    assert {each.deciders for each in services.list_tools(cast.persona)} == {"moderators"}
    as_admin = browse(cast.admin).get(address(cast)).content.decode()
    assert '<option value="asker">' in as_admin
    assert "Only a team admin may let" not in as_admin


def test_a_new_persona_starts_with_the_suggested_tools(
    cast: Cast,
    browse: Browse,  # noqa: F811
) -> None:
    where = reverse("agents:persona_create", args=[cast.team.pk])
    form = persona_form(cast, name="Byeori", handle="")

    page = browse(cast.admin).get(where).content.decode()
    browse(cast.admin).post(where, form)

    for own in CATALOG:
        assert "checked" in radios(page, own.id)[own.suggested], own.key
    held = services.list_tools(Persona.objects.get(name="Byeori"))
    assert {each.tool: each.policy for each in held} == {
        own.id: own.suggested for own in CATALOG if own.suggested != "never"
    }
