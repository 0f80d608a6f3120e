"""The sessions of one run with MCP servers: opened by the first call, closed with the run.

Nothing is kept between runs: a session that another run, room or person has opened would carry its
state and its sign-in.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

import structlog
from django.db.models import F

from agents.mcp import client, tokens
from agents.mcp.client import Session
from agents.mcp.definitions import Listing
from agents.mcp.listing import store_listing
from agents.mcp.threads import in_thread
from agents.mcp.transport import FailureCode, McpFailed
from agents.models import McpServer, Tool
from agents.provider_keys import KeyUnreadable, decrypt_headers
from agents.tool_types import McpSpec, ToolResult, ToolSpec

# The words are for models, and quote nothing of the server.
FAILURES: Final[Mapping[FailureCode, str]] = {
    "not_allowed": "The address of the tool's server is not allowed.",
    "removed": "The tool's server was changed or disabled. The call was not carried out.",
    "unreachable": "The tool's server cannot be reached.",
    "lost": "The connection to the tool's server broke. The call may have been carried out.",
    "unauthorized": "The tool's server refused the sign-in. A team admin must check it.",
    "forbidden": "The tool's server does not allow this.",
    "expired": "The tool's server ended the session. The call was not carried out.",
    "not_found": "The tool's server does not know this address.",
    "redirected": "The tool's server has moved. A team admin must change its address.",
    "busy": "The tool's server has too much to do. Try again later.",
    "failed": "The tool's server reported an error.",
    "too_large": "The answer of the tool was too large. Ask for less.",
    "not_mcp": "The tool's server sent an answer that cannot be read.",
    "timeout": "The tool took too long. The call may have been carried out.",
    "sign_in": "The tool's server needs a sign-in. There is none, or it has ended.",
    "guest": "The person who asked is a guest of the team, and guests cannot use this tool.",
}
SHORT: Final[Mapping[str, str]] = {
    "not_allowed": "address not allowed",
    "removed": "server changed",
    "lost": "connection lost",
    "unauthorized": "sign-in refused",
    "forbidden": "access refused",
    "expired": "session ended",
    "redirected": "moved",
    "not_mcp": "unreadable",
    "sign_in": "needs a sign-in",
    "guest": "not for guests",
}
"""What the line of a call in the room says, where the code of the failure is no plain word: words
of `agents.tools.failure_words`."""
CHANGED: Final = (
    "The server has changed this tool. A team admin must approve it before it can be used again."
)
OUTDATED: Final = "The tool has changed since this answer began. The call was not carried out."
"""An admin has approved another definition than the one that the model has."""

log = structlog.get_logger(__name__)


class Sessions:
    """The sessions of one run, as an async context. Calls may run at the same time."""

    def __init__(self) -> None:
        self._servers: dict[tuple[UUID, UUID | None], _Server] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all sessions, within a second."""
        await asyncio.gather(*(server.close() for server in self._servers.values()))

    async def call(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> ToolResult:
        """Return the result of a tool of an MCP server; a failure is a result, too."""
        assert spec.server is not None
        key = (spec.server.id, spec.server.user)
        server = self._servers.setdefault(key, _Server(spec.server))
        try:
            return await server.call(spec, arguments)
        except McpFailed as failure:
            log.info("mcp.call_failed", server=str(spec.server.id), code=failure.code)
            text = FAILURES[failure.code] + _way_out(failure, spec.server)
            if failure.detail:
                text += f" It said: {failure.detail}"
            short = SHORT.get(failure.code, failure.code.replace("_", " "))
            return ToolResult(text, short, failed=True)


class _Server:
    """One server, its session, and the tools that may be used as it lists them now."""

    def __init__(self, spec: McpSpec) -> None:
        self._spec = spec
        self._session: Session | None = None
        self._started: list[Session] = []
        self._usable: Mapping[UUID, str] = {}
        self._lock = asyncio.Lock()
        self._token = ""

    async def call(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool within TOTAL_SECONDS; raise McpFailed."""
        try:
            async with asyncio.timeout(client.TOTAL_SECONDS):
                return await self._call(spec, arguments)
        except TimeoutError:
            raise McpFailed("timeout") from None

    async def _call(self, spec: ToolSpec, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool; once more if the server has not carried it out for want of a session."""
        if self._session is not None:  # access may have been removed since it was opened
            await in_thread(_check_access, self._spec)
        for is_last in (False, True):
            session = await self._ready()
            usable = self._usable.get(spec.id)
            if usable != spec.sha256:
                text = CHANGED if usable is None else OUTDATED
                return ToolResult(text, "changed", failed=True)
            try:
                result = await session.call(spec.key, dict(arguments), client.CALL_SECONDS)
            except McpFailed as failure:
                if is_last or not await self._repair(failure, session):
                    raise
            else:
                short = "error" if result.is_error else ""
                return ToolResult(result.text, short, failed=result.is_error)
        raise AssertionError

    async def close(self) -> None:
        """End the session."""
        await asyncio.gather(*(session.close() for session in self._started))

    async def _ready(self) -> Session:
        """Return the session, opened, with the tools that its server lists now."""
        async with self._lock:
            if self._session is None:
                self._session = await self._open()
            if self._session.changed:
                await self._list(self._session)
            return self._session

    async def _open(self) -> Session:
        if self._spec.auth == "oauth" and not self._token:
            self._token = await tokens.access_token(self._spec)
        try:
            return await self._start()
        except McpFailed as failure:
            if not await self._refresh_token(failure):
                raise
        return await self._start()

    async def _start(self) -> Session:
        await in_thread(_check_access, self._spec)
        session = Session(url=self._spec.url, team=self._spec.team_id, headers=self._headers())
        self._started.append(session)
        await session.open()
        await self._list(session)
        return session

    async def _list(self, session: Session) -> None:
        self._usable = await in_thread(_compare, self._spec, await session.list_tools())

    async def _repair(self, failure: McpFailed, session: Session) -> bool:
        """Return True if another attempt may succeed where this one was not carried out."""
        async with self._lock:
            if failure.code == "expired":
                if self._session is session:
                    self._session = None
                return True
            return await self._refresh_token(failure)

    async def _refresh_token(self, failure: McpFailed) -> bool:
        if failure.code != "unauthorized" or self._spec.auth != "oauth":
            return False
        self._token = await tokens.access_token(self._spec, rejected=self._token)
        for session in self._started:
            session.set_headers(self._headers())
        return True

    def _headers(self) -> dict[str, str]:
        headers = dict(self._spec.headers)
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers


def _way_out(failure: McpFailed, server: McpSpec) -> str:
    """Return the sentence that says who can sign in, and where; empty if that would not help."""
    if failure.code not in ("sign_in", "unauthorized") or server.auth != "oauth":
        return ""
    who = "A team admin" if server.user is None else "The person who asked"
    return f" {who} can sign in again at {tokens.sign_in_url(server.id)} and then ask again."


def _check_access(spec: McpSpec) -> None:
    """Raise McpFailed if the server is disabled or not the one that the run has copied any more.

    The address, the headers or the kind of access may have changed, or a sign-in been removed.
    """
    rows = McpServer.objects.filter(pk=spec.id, url=spec.url, auth=spec.auth, enabled=True)
    server = rows.filter(personal=spec.user is not None).first()
    try:
        is_current = server and decrypt_headers(server.headers_encrypted) == spec.headers
    except KeyUnreadable:
        is_current = False
    if not is_current:
        raise McpFailed("removed")
    if spec.auth == "oauth":
        tokens.check_sign_in(spec)


def _compare(spec: McpSpec, listing: Listing) -> dict[UUID, str]:
    """Return the hashes of the approved tools of a server, after storing changes of its listing.

    Raise McpFailed as `_check_access` does.
    """
    rows = Tool.objects.filter(server=spec.id, listed=True)
    hashes = dict(rows.values_list("key", "sha256"))
    if hashes != {tool.name: tool.sha256 for tool in listing.tools}:
        log.warning("mcp.tools_changed", server=str(spec.id))
        store_listing(spec.id, listing.tools, url=spec.url)
    _check_access(spec)
    return dict(rows.filter(sha256=F("approved_sha256")).values_list("pk", "sha256"))
