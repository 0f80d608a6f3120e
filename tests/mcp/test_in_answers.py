"""An answer of a persona calls a tool of an MCP server."""

import json

import pytest
from pytest_django import Settings

from agents.mcp.threads import in_thread
from agents.models import PersonaTool, Tool, ToolPolicy
from agents.tool_types import ToolSpec
from agents.tools.registry import specs_for
from tests.agents.cast import ALLOWED, make_cast
from tests.agents.engine.tools.acting import Stage
from tests.mcp.servers import Running
from tests.mcp.toolset import add_server
from tests.provider import Provider


@pytest.mark.django_db(transaction=True)
async def test_a_tool_of_a_server_answers_the_model(
    provider: Provider, good: Running, settings: Settings
) -> None:
    def prepare() -> tuple[ToolSpec, ...]:
        cast = make_cast()
        server = add_server(cast, good.url, headers={"X-Team": "blue"})
        tool = Tool.objects.get(server=server, key="echo")
        PersonaTool.objects.create(persona=cast.persona, tool=tool.pk, policy=ToolPolicy.ALWAYS)
        return specs_for(cast.persona)

    settings.EGRESS_ALLOW |= ALLOWED
    specs = await in_thread(prepare)
    good.requests.clear()

    result = await Stage(provider, specs).ask('USE server_echo {"text": "from afar"}')

    assert result.text == "The tools said: [result of server_echo]\nfrom afar"
    assert set(good.sent("x-team")) == {"blue"}
    assert good.requests[-1][0] == "DELETE"  # the session ends with the answer
    sent = json.dumps([request.body for request in provider.requests])
    assert "from afar" in sent
    assert "blue" not in sent
    assert good.address not in sent
    assert specs[0].description == "Return the text."
    assert specs[0].description not in provider.requests[0].prompt  # a server writes no rules
