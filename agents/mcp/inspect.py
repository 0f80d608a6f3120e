"""Lists the tools of a server, as a process of its own: `python -m agents.mcp.inspect`.

A web process starts it (`agents.mcp.child`), because the SDK takes a second to import, and because
what a hostile server sends stays in a process that has no key of this installation. The process
reads one JSON object from standard input and writes one to standard output. It needs no database.
"""

import asyncio
import json
import resource
import sys
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

from django.conf import settings

SECONDS: Final = 20.0
MAX_MEMORY: Final = 1024 * 1024 * 1024
MAX_CPU_SECONDS: Final = 20


def main() -> None:
    """Read the target, inspect it, and write the report."""
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target = json.load(sys.stdin)
    settings.configure(
        EGRESS_ALLOW=frozenset(target["egress_allow"]), EGRESS_PROXY=_proxy(target["egress_proxy"])
    )
    report = asyncio.run(_inspect(target))
    sys.stdout.write(json.dumps(report))


async def _inspect(target: dict[str, Any]) -> dict[str, Any]:
    # After `settings.configure`: these modules read the settings.
    from agents.mcp.client import Session  # noqa: PLC0415
    from agents.mcp.transport import McpFailed  # noqa: PLC0415

    session = Session(url=target["url"], team=UUID(target["team"]), headers=target["headers"])
    try:
        async with asyncio.timeout(SECONDS):
            await session.open()
            listing = await session.list_tools()
    except McpFailed as failure:
        return {"problem": failure.code, "challenge": failure.challenge, "detail": failure.detail}
    except TimeoutError:
        return {"problem": "timeout"}
    finally:
        await session.close()
    return {
        "problem": "",
        "tools": [asdict(tool) for tool in listing.tools],
        "left_out": listing.left_out,
    }


def _proxy(parts: dict[str, Any] | None) -> Any:
    """Return the proxy with the attributes that `agents.egress.proxy` reads."""
    from types import SimpleNamespace  # noqa: PLC0415

    return None if parts is None else SimpleNamespace(**parts)


if __name__ == "__main__":
    main()
