"""The tools of MARU_TOOLS: their rows, what a class says about itself, and wrong entries."""

import re
import sys
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from agents.models import Tool
from agents.services import ToolChoice, update_persona
from agents.tools import installed
from agents.tools.registry import specs_for, tools_of_team
from tests.agents.cast import Cast
from tests.live import ROOT

pytestmark = pytest.mark.django_db

MODULE = """
from crewai.tools import BaseTool

class Look(BaseTool):
    name: str = "Look it up!"
    description: str = "Looks something up."
    title: str = "Look it up"
    reach: str = "team"
    changes: bool = False
    idempotent: bool = True

    def _run(self, word: str) -> str:
        return word

class Send(BaseTool):
    name: str = "send"
    description: str = "Sends something."

    def _run(self) -> str:
        return "sent"

class Secret(BaseTool):
    name: str = "x"
    description: str = "x"

    def __init__(self) -> None:
        raise RuntimeError("sk-CANARY")

    def _run(self) -> str:
        return ""

class Elsewhere(Look):
    reach: str = "the moon"

NOT_A_TOOL = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module with tools, which can be imported."""
    (tmp_path / "house_tools.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "house_tools", raising=False)
    return "house_tools"


def test_a_worker_writes_the_tools_for_web_processes(
    cast: Cast, module: str, settings: Settings
) -> None:
    settings.TOOLS = (f"{module}:Look", f"{module}:Send")

    assert installed.register() == []

    look, send = [tool for tool in tools_of_team(cast.team) if tool.name in {"Look_it_up", "send"}]
    assert (look.title, look.reach, look.changes, look.idempotent) == (
        *("Look it up", "team", False, True),
    )
    assert (send.title, send.reach, send.changes, send.idempotent) == (
        *("send", "internet", True, False),
    )
    assert look.approved
    assert send.approved


def test_a_persona_uses_an_installed_tool(cast: Cast, module: str, settings: Settings) -> None:
    settings.TOOLS = (f"{module}:Look",)
    installed.register()
    row = Tool.objects.get()
    choices = [ToolChoice(row.pk, "always")]
    update_persona(user=cast.admin, persona_id=cast.persona.pk, tools=choices)

    (spec,) = specs_for(cast.persona)

    assert (spec.source, spec.key, spec.server) == ("installed", f"{module}:Look", None)
    assert spec.parameters["required"] == ["word"]
    assert installed.create(spec.key).run(word="here") == "here"


def test_registering_again_keeps_the_rows_and_unlists_what_is_gone(
    cast: Cast, module: str, settings: Settings
) -> None:
    settings.TOOLS = (f"{module}:Look", f"{module}:Send")
    installed.register()
    before = set(Tool.objects.values_list("pk", flat=True))

    settings.TOOLS = (f"{module}:Look",)
    installed.register()
    left = [tool.name for tool in tools_of_team(cast.team)]
    settings.TOOLS = (f"{module}:Look", f"{module}:Send")
    installed.register()

    assert "send" not in left
    assert set(Tool.objects.filter(listed=True).values_list("pk", flat=True)) == before


def test_a_wrong_entry_is_one_sentence_without_the_text_of_its_error(
    module: str, settings: Settings
) -> None:
    wrong = ("Missing", "Secret", "NOT_A_TOOL", "Elsewhere")
    settings.TOOLS = ("no.such.module:Class", *(f"{module}:{name}" for name in wrong))

    mistakes = installed.register()

    assert [sentence.split(" ")[1] for sentence in mistakes] == list(settings.TOOLS)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in mistakes)
    assert "CANARY" not in "".join(mistakes)
    assert not Tool.objects.exists()


def test_a_class_that_the_operator_has_not_named_is_not_imported(
    module: str, settings: Settings
) -> None:
    settings.TOOLS = ()

    with pytest.raises(installed.NotInstalled):
        installed.create(f"{module}:Look")

    assert module not in sys.modules


def test_the_example_of_the_guide_is_a_tool(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    guide = (ROOT / "deploy" / "README.md").read_text()
    (example,) = re.findall(r"```python\n(from crewai\.tools.*?)```", guide, re.DOTALL)
    (entry,) = re.findall(r"MARU_TOOLS=(\S+:\w+)", guide)
    file = tmp_path / f"{entry.partition(':')[0].replace('.', '/')}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(example)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.TOOLS = (entry,)

    assert installed.register() == []

    row = Tool.objects.get()
    assert (row.name, row.changes, row.idempotent) == ("working_days", False, True)
    assert installed.create(entry).run(first="2026-11-30", last="2026-12-06") == "5"
