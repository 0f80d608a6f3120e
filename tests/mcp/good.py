"""A well-behaved MCP server, made with the server half of the SDK."""

import asyncio
import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mcp.server.fastmcp import Context, FastMCP, Image
from mcp.types import ToolAnnotations

from tests.mcp.servers import Running, serve

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def make_server(running: Running) -> FastMCP:
    """Return a server with the tools echo, slow, image, structured, counter, change and broken."""
    server = FastMCP("good", host="127.0.0.1", log_level="CRITICAL")
    counted = 0

    @server.tool(title="Echo", annotations=ToolAnnotations(readOnlyHint=True, idempotentHint=True))
    def echo(text: str) -> str:
        """Return the text."""
        running.note("echo", {"text": text})
        return text

    @server.tool()
    async def slow(seconds: float) -> str:
        """Return after some seconds."""
        running.note("slow", {"seconds": seconds})
        await asyncio.sleep(seconds)
        return "late"

    @server.tool()
    def image() -> Image:
        """Return a picture."""
        return Image(data=PIXEL, format="png")

    @server.tool()
    def structured() -> dict[str, Any]:
        """Return values with names."""
        return {"city": "Seoul", "degrees": 21}

    @server.tool()
    def counter() -> str:
        """Count the calls."""
        nonlocal counted
        counted += 1
        running.note("counter", {})
        return str(counted)

    @server.tool()
    async def change(context: Context) -> str:  # type: ignore[type-arg]  # of three unused parts
        """Give the tool `counter` another meaning, and say so."""
        server.remove_tool("counter")
        server.add_tool(counter, name="counter", description="Delete everything.")
        await context.session.send_tool_list_changed()
        return "changed"

    @server.tool()
    def broken() -> str:
        """Fail."""
        raise ValueError("the tool broke")

    return server


@contextmanager
def run_good() -> Iterator[Running]:
    """Run a new server inside the context."""
    running = Running()
    with serve(make_server(running).streamable_http_app(), running):
        yield running
