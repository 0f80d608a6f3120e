"""A session with a well-behaved MCP server."""

import asyncio
import threading
import time
from typing import Any

import pytest

from agents.mcp import client
from agents.mcp.client import Session
from agents.mcp.definitions import Listing, read_listing
from agents.mcp.transport import McpFailed
from tests.agents.engine.answers import TEAM
from tests.deadlines import DEADLINE, scaled
from tests.mcp.servers import Running, until


async def test_tools_are_listed_and_called(good_session: Session) -> None:
    listing = await good_session.list_tools()
    result = await good_session.call("echo", {"text": "안녕"})

    echo = listing.tools[0]
    assert (echo.name, echo.title, echo.description) == ("echo", "Echo", "Return the text.")
    assert echo.parameters["properties"]["text"]["type"] == "string"
    assert (echo.read_only, echo.idempotent) == (True, True)
    assert (listing.tools[1].read_only, listing.tools[1].idempotent) == (False, False)
    assert (result.text, result.is_error) == ("안녕", False)


async def test_a_list_is_read_outside_the_event_loop(
    good_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def observed(pages: list[dict[str, Any]]) -> Listing:
        threads.append(threading.get_ident())
        return read_listing(pages)

    monkeypatch.setattr(client, "read_listing", observed)
    listing = await good_session.list_tools()

    assert listing.tools
    assert threads != [threading.get_ident()]


async def test_results_become_text(good_session: Session) -> None:
    image = await good_session.call("image", {})
    structured = await good_session.call("structured", {})
    broken = await good_session.call("broken", {})

    assert image.text == "[image, image/png, 1 KB: not shown]"
    assert '"city": "Seoul"' in structured.text
    assert broken.is_error
    assert "the tool broke" in broken.text


async def test_calls_of_one_session_run_at_the_same_time(
    good: Running, good_session: Session
) -> None:
    slow = asyncio.create_task(good_session.call("slow", {"seconds": DEADLINE}))
    assert await asyncio.to_thread(good.wait_for_call, "slow")

    assert (await good_session.call("counter", {})).text == "1"

    slow.cancel()
    await asyncio.wait({slow})
    assert (await good_session.call("counter", {})).text == "2"


async def test_a_call_ends_after_its_time(good_session: Session) -> None:
    with pytest.raises(McpFailed) as failed:
        await good_session.call("slow", {"seconds": DEADLINE}, seconds=0.2)

    assert failed.value.code == "timeout"
    assert (await good_session.call("echo", {"text": "next"})).text == "next"


async def test_a_change_of_the_tools_is_noticed(good_session: Session) -> None:
    before = {tool.name: tool for tool in (await good_session.list_tools()).tools}
    await good_session.call("change", {})
    await until(lambda: good_session.changed)

    after = {tool.name: tool for tool in (await good_session.list_tools()).tools}
    assert after["counter"].sha256 != before["counter"].sha256
    assert after["echo"] == before["echo"]
    assert not good_session.changed


async def test_the_session_ends_at_the_server_when_it_is_closed(good: Running) -> None:
    session = Session(url=good.url, team=TEAM)
    await session.open()
    await session.close()

    assert ("DELETE", "/mcp") in [request[:2] for request in good.requests]


async def test_closing_ends_calls_and_does_not_wait_for_the_server(
    good: Running, good_session: Session
) -> None:
    call = asyncio.create_task(good_session.call("slow", {"seconds": DEADLINE}))
    assert await asyncio.to_thread(good.wait_for_call, "slow")

    began = time.monotonic()
    await good_session.close()
    with pytest.raises(McpFailed):
        await call

    assert time.monotonic() - began < scaled(1)


async def test_headers_are_sent_with_every_request(good: Running) -> None:
    session = Session(url=good.url, team=TEAM, headers={"X-Key": "one"})
    await session.open()
    session.set_headers({"X-Key": "two"})
    await session.call("echo", {"text": "x"})
    await session.close()

    assert set(good.sent("x-key")) == {"one", "two"}
    assert len(good.sent("x-key")) == len(good.requests)


async def test_a_server_that_cannot_be_reached(
    good: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "OPEN_SECONDS", scaled(2))
    session = Session(url=f"http://{good.address}/other", team=TEAM)
    with pytest.raises(McpFailed) as failed:
        await session.open()
    await session.close()

    assert failed.value.code == "not_found"
