"""The tools of one run, as CrewAI's tools: their schemas for the model, and their execution.

Each call ends within its time limit, if it has one, with a result that may be stored and shown to
the model. The text of an exception is neither stored nor shown nor logged: it can quote keys.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final
from uuid import UUID

import structlog
from crewai.tools import BaseTool
from crewai.tools.base_tool import Tool
from pydantic import BaseModel, PrivateAttr

from agents.egress.dns import HostUnknown
from agents.egress.guard import EgressRefused
from agents.engine import tool_arguments, tool_results
from agents.engine.failures import TRANSPORT_ERRORS
from agents.engine.tool_results import NotText
from agents.mcp.client import TOTAL_SECONDS
from agents.mcp.sessions import Sessions
from agents.tool_types import CallRequest, ToolFunction, ToolResult, ToolSpec
from agents.tools import calculator, clock, fetch_page, installed

MCP_SECONDS: Final = TOTAL_SECONDS + 5
"""The session bounds its own steps, and knows more of what has happened to a call."""
STORING: Final = frozenset({"ask_people", "ask_persona"})
"""The tools of the room that store, by their key in the catalog. They have no time limit of their
own: they are retried while the database is unavailable, as the journal is."""
CANCEL_SECONDS: Final = 0.5
"""How long a cancelled tool may take to end; then the answer goes on without it."""
OWN: Final[Mapping[str, Callable[[dict[str, Any]], Awaitable[ToolResult]]]] = {
    "calculator": calculator.run,
    "clock": clock.run,
}
"""Our own tools that do not need the room, by their key in the catalog."""
THREADS: Final = ThreadPoolExecutor(max_workers=8, thread_name_prefix="tool")
"""For installed tools that block. A thread cannot be stopped: it ends when its tool returns."""

FAILURES: Final[Sequence[tuple[tuple[type[BaseException], ...], str]]] = (
    ((TimeoutError,), "The tool took too long, and was stopped."),
    ((EgressRefused,), "The tool may not connect to this address."),
    ((HostUnknown, *TRANSPORT_ERRORS), "The tool could not reach a server."),
    ((NotText,), "The tool returned something that is not text."),
    ((ValueError,), "The tool did not accept these arguments."),
    ((BaseException,), "The tool failed."),
)
"""What an exception means, in words for the model; the first that matches."""
NOT_EXECUTED: Final = (EgressRefused, ValueError)

Execute = Callable[[str, dict[str, Any]], Awaitable[ToolResult | None]]

log = structlog.get_logger(__name__)


class CallerFailed(Exception):
    """The journal, or a tool of the room, has raised `error`; the engine's caller gets it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class NoArguments(BaseModel):
    """Keeps CrewAI from deriving a schema: arguments are checked before a call is stored."""


class RunTool(BaseTool):
    """A tool of one run that is executed by our own code."""

    args_schema: type[BaseModel] = NoArguments
    _execute: Execute = PrivateAttr()

    def __init__(self, spec: ToolSpec, execute: Execute) -> None:
        super().__init__(name=spec.name, description=spec.description)
        self._execute = execute

    async def _arun(self, call: str, arguments: dict[str, Any]) -> ToolResult | None:
        return await self._execute(call, arguments)

    def _run(self, *_args: Any, **_options: Any) -> None:
        raise NotImplementedError("The engine makes no blocking calls")


class Toolbox:
    """The tools of one run, by the names that the model sees."""

    def __init__(
        self,
        specs: tuple[ToolSpec, ...],
        functions: Mapping[str, ToolFunction],
        seconds: float,
        team: UUID,
    ) -> None:
        self._team = team
        self._specs = {spec.name: spec for spec in specs}
        self._tools = {spec.id: RunTool(spec, self._code_of(spec)) for spec in specs}
        self._functions = functions
        self._seconds = seconds
        self._installed: dict[str, BaseTool] = {}
        self._sessions = Sessions()

    async def aclose(self) -> None:
        """End the sessions with MCP servers."""
        await self._sessions.close()

    def schemas(self) -> list[dict[str, Any]]:
        """Return the tools in OpenAI's form, as `acall` takes them."""
        return [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": {"type": "object", "properties": {}} | dict(spec.parameters),
                },
            }
            for spec, tool in zip(self._specs.values(), self._tools.values(), strict=True)
        ]

    def find(self, name: str) -> ToolSpec | None:
        """Return the tool that the model sees under this name."""
        return self._specs.get(name)

    async def run(self, call: CallRequest) -> ToolResult | None:
        """Execute a call; return None if its result comes later.

        Raise CallerFailed, and CancelledError if the run is stopped.
        """
        spec = call.spec
        if spec is None or spec.id not in self._tools:
            return ToolResult("This tool is no longer available.", failed=True)
        work = asyncio.create_task(self._execute(spec, call))
        try:
            await asyncio.wait({work}, timeout=self._seconds_for(spec))
            in_time = work.done()
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work}, timeout=CANCEL_SECONDS)
                if not work.done():
                    log.error("tool.not_stopped", source=spec.source)
        if work.done() and not work.cancelled():
            return work.result()
        return _failure(spec, asyncio.CancelledError() if in_time else TimeoutError())

    def _seconds_for(self, spec: ToolSpec) -> float | None:
        if spec.source == "own" and spec.key in STORING:
            return None
        return MCP_SECONDS if spec.source == "mcp" else self._seconds

    async def _execute(self, spec: ToolSpec, call: CallRequest) -> ToolResult | None:
        try:
            _, arguments = tool_arguments.read(call.arguments)
            result = await self._tools[spec.id].arun(str(call.id), arguments)
        except CallerFailed:
            raise
        # SystemExit would end the worker. The groups of anyio are no Exception if a cancellation
        # is among their errors.
        except (Exception, SystemExit, BaseExceptionGroup) as error:
            return _failure(spec, error)
        return None if result is None else tool_results.clean(result)

    def _code_of(self, spec: ToolSpec) -> Execute:
        if spec.source == "installed":
            return partial(self._run_installed, spec.key)
        if spec.source == "mcp":
            return lambda _call, arguments: self._sessions.call(spec, arguments)
        if spec.source == "own" and spec.key in OWN:
            own = OWN[spec.key]
            return lambda _call, arguments: own(arguments)
        if spec.source == "own" and spec.key == "fetch_page":
            return lambda _call, arguments: fetch_page.run(arguments, self._team)
        return partial(self._run_in_room, spec.key)

    async def _run_in_room(
        self, key: str, call: str, arguments: dict[str, Any]
    ) -> ToolResult | None:
        try:
            return await self._functions[key](call, arguments)
        except TimeoutError:
            raise
        except Exception as error:
            raise CallerFailed(error) from None

    async def _run_installed(self, key: str, _call: str, arguments: dict[str, Any]) -> ToolResult:
        loop = asyncio.get_running_loop()
        if key not in self._installed:
            self._installed[key] = await loop.run_in_executor(THREADS, installed.create, key)
        tool = self._installed[key]
        if _is_async(tool):
            return tool_results.of_value(await tool.arun(**arguments))
        return await loop.run_in_executor(
            THREADS, lambda: tool_results.of_value(tool.run(**arguments))
        )


def _is_async(tool: BaseTool) -> bool:
    if isinstance(tool, Tool):
        return asyncio.iscoroutinefunction(tool.func)
    # CrewAI has no other way to ask this.
    return type(tool)._arun is not BaseTool._arun  # noqa: SLF001


def _failure(spec: ToolSpec, error: BaseException) -> ToolResult:
    """Return the failure in words for the model, without any text of the exception."""
    log.info("tool.failed", source=spec.source, error=type(error).__name__)
    text = next(words for kinds, words in FAILURES if isinstance(error, kinds))
    if spec.changes and not isinstance(error, NOT_EXECUTED):
        text += " It is not known whether the call had an effect."
    return ToolResult(text, failed=True)
