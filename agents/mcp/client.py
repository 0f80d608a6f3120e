"""One session with an MCP server, on the event loop of a worker or of the child of `inspect`.

The scopes of anyio belong to one task: a task of the session enters the SDK's contexts and leaves
them. Calls are made from other tasks, at the same time if they like.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_args
from uuid import UUID

import anyio
import httpx
import mcp
import pydantic
from mcp import types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError
from mcp.shared.session import RequestResponder

from agents.egress.guard import EgressRefused
from agents.egress.proxy import open_transport
from agents.mcp.definitions import MAX_TOOLS, Listing, clean_lines, read_listing
from agents.mcp.result_text import describe
from agents.mcp.transport import ERROR_CODE, FailureCode, GuardedTransport, McpFailed

OPEN_SECONDS: Final = 20.0
LIST_SECONDS: Final = 20.0
CALL_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 0.4
"""How long the end of a session may take, twice: politely, then cancelled."""
MAX_PAGES: Final = 20
MAX_ERROR_TEXT: Final = 400

FAILURE_CODES: Final = frozenset(get_args(FailureCode))
CLIENT: Final = types.Implementation(name="Maru", version="1")

Request = types.CallToolRequest | types.ListToolsRequest
Message = (
    RequestResponder[types.ServerRequest, types.ClientResult] | types.ServerNotification | Exception
)
R = TypeVar("R", bound=types.Result)


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a tool has returned, as text. `is_error` if the tool says that it failed."""

    text: str
    is_error: bool


class Session:
    """A session with one server: `open`, then calls, then `close`.

    `changed` is True once the server has said that its tools have changed; `list_tools` resets it.
    """

    def __init__(self, *, url: str, team: UUID, headers: Mapping[str, str] | None = None) -> None:
        self._url = url
        self._team = team
        self._headers = dict(headers or {})
        self._closing = asyncio.Event()
        self._opened: asyncio.Future[mcp.ClientSession] = asyncio.Future()
        self._task: asyncio.Task[None] | None = None
        self._transport: GuardedTransport | None = None
        self.changed = False

    @property
    def challenge(self) -> str:
        """The WWW-Authenticate header of the last 401, or empty."""
        return self._transport.challenge if self._transport else ""

    def set_headers(self, headers: Mapping[str, str]) -> None:
        """Send these headers with all later requests."""
        self._headers = dict(headers)
        if self._transport is not None:
            self._transport.headers = dict(headers)

    async def open(self) -> None:
        """Connect and initialize, within OPEN_SECONDS; raise McpFailed. `close` follows always."""
        self._task = asyncio.create_task(self._own(), name="mcp-session")
        waiting: set[asyncio.Future[Any]] = {self._opened, self._task}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not self._opened.done():
            raise McpFailed("lost")
        self._opened.result()

    async def list_tools(self) -> Listing:
        """Return the tools of the server; raise McpFailed. Reads at most MAX_PAGES pages."""
        self.changed = False
        try:
            async with asyncio.timeout(LIST_SECONDS):
                # In a thread: a hostile list would block the event loop for most of a second.
                return await asyncio.to_thread(read_listing, await self._list_pages())
        except TimeoutError:
            raise McpFailed("timeout") from None

    async def call(
        self, name: str, arguments: dict[str, Any], seconds: float = CALL_SECONDS
    ) -> CallResult:
        """Call a tool within `seconds`; raise McpFailed.

        A call whose response is lost may have been executed.
        """
        request = types.CallToolRequest(
            params=types.CallToolRequestParams(name=name, arguments=arguments)
        )
        result = await self._request(request, types.CallToolResult, seconds)
        return CallResult(describe(result), result.isError)

    async def close(self) -> None:
        """End the session within 2 * CLOSE_SECONDS, also if the server does not answer."""
        self._closing.set()
        if self._opened.done() and not self._opened.cancelled():
            self._opened.exception()  # it has been reported, or no call waits for it any more
        if self._task is None:
            return
        await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)

    async def _own(self) -> None:
        """Hold the contexts of the SDK from the first request until `close`."""
        try:
            with open_transport() as connections:
                self._transport = GuardedTransport(
                    connections, url=self._url, team=self._team, headers=self._headers
                )
                async with (
                    httpx.AsyncClient(
                        transport=self._transport, trust_env=False, follow_redirects=False
                    ) as client,
                    streamable_http_client(self._url, http_client=client) as (reader, writer, _),
                    _Session(
                        reader, writer, message_handler=self._receive, client_info=CLIENT
                    ) as session,
                ):
                    if await self._initialize(session):
                        self._opened.set_result(session)
                        await self._closing.wait()
        except EgressRefused:
            self._fail(McpFailed("not_allowed"))
        # The SDK raises groups, and errors of any kind for what a server has sent. No log: the
        # standard output of the child process is its answer, and the text could quote a secret.
        except Exception:
            self._fail(McpFailed("not_mcp"))

    async def _initialize(self, session: mcp.ClientSession) -> bool:
        """Return False after a failure; raised, it would become a group of exceptions."""
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await session.initialize()
        except TimeoutError:
            self._fail(McpFailed("timeout"))
        except McpError as error:
            self._fail(self._failure(error))
        else:
            return True
        return False

    def _fail(self, failure: McpFailed) -> None:
        if not self._opened.done():
            self._opened.set_exception(failure)

    async def _list_pages(self) -> list[dict[str, Any]]:
        tools: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._request(
                types.ListToolsRequest(params=types.PaginatedRequestParams(cursor=cursor)),
                types.ListToolsResult,
                LIST_SECONDS,
            )
            tools += (
                tool.model_dump(mode="json", by_alias=True, exclude_none=True)
                for tool in page.tools
            )
            cursor = page.nextCursor
            if cursor is None or len(tools) > MAX_TOOLS:
                break
        return tools

    async def _request(self, request: Request, result_type: type[R], seconds: float) -> R:
        """Send one request and return its result; raise McpFailed.

        `send_request` instead of the SDK's `call_tool`: that one would list all tools first, and
        check the result against the server's schema, whose patterns can take years.
        """
        session = self._opened.result()
        call = asyncio.create_task(
            session.send_request(
                types.ClientRequest(request),
                result_type,
                request_read_timeout_seconds=timedelta(seconds=seconds),
            )
        )
        assert self._task is not None
        try:
            await asyncio.wait({call, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                raise McpFailed("lost")
            return call.result()
        except McpError as error:
            raise self._failure(error) from None
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise McpFailed("lost") from None
        except pydantic.ValidationError:
            raise McpFailed("not_mcp") from None
        finally:
            call.cancel()

    async def _receive(self, message: Message) -> None:
        """Note that the tools have changed; ignore everything else that the server sends."""
        if isinstance(message, types.ServerNotification):
            self.changed |= isinstance(message.root, types.ToolListChangedNotification)

    def _failure(self, error: McpError) -> McpFailed:
        """Return the failure that an error of JSON-RPC means."""
        code, message = error.error.code, error.error.message
        if code == ERROR_CODE and message in FAILURE_CODES:
            return McpFailed(cast("FailureCode", message), challenge=self.challenge)
        if code == httpx.codes.REQUEST_TIMEOUT:
            return McpFailed("timeout")
        if code == types.CONNECTION_CLOSED:
            return McpFailed("lost")
        return McpFailed("failed", clean_lines(message[: 2 * MAX_ERROR_TEXT])[:MAX_ERROR_TEXT])


class _Session(mcp.ClientSession):
    """Declares no capability of a client, and refuses what a server asks for all the same."""

    async def _received_request(
        self, responder: RequestResponder[types.ServerRequest, types.ClientResult]
    ) -> None:
        request = responder.request.root
        answer: types.ClientResult | types.ErrorData
        if isinstance(request, types.PingRequest):
            answer = types.ClientResult(types.EmptyResult())
        elif isinstance(request, types.ElicitRequest):
            answer = types.ClientResult(types.ElicitResult(action="decline"))
        elif isinstance(request, types.ListRootsRequest):
            answer = types.ClientResult(types.ListRootsResult(roots=[]))
        else:  # sampling, and tasks
            answer = types.ErrorData(code=types.INVALID_REQUEST, message="Not supported")
        with responder:
            await responder.respond(answer)


def silence_sdk() -> None:
    """Keep the SDK's records out of the log: they quote what servers send."""
    for name in ("mcp", "client"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    folder = str(Path(mcp.__file__).parent)
    logging.getLogger().addFilter(lambda record: not record.pathname.startswith(folder))


silence_sdk()
