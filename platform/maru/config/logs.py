"""Logging: each line is one event with ids, and never contains message text, keys or paths.

With `json` as the format, every line that the process writes is a JSON object: warnings of Python,
errors in threads and uncaught exceptions included.
"""

import json
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final

import psycopg
import structlog
from django.core.exceptions import ImproperlyConfigured
from structlog.typing import EventDict, Processor

_SHARED: Final[list[Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_VERBOSE: Final = (
    "asyncio",
    "crewai_core",
    "httpcore",
    "httpx",
    "openai",
    "urllib3",
    "uvicorn.error",
)
_UNAVAILABLE: Final = 503
_NO_TEXT: Final = "Invalid UTF-8 sequence received from client."
"""uvicorn's record of a WebSocket frame that is no text; it has a traceback."""

# The text of these exceptions names parts of the program. The text of any other exception may
# quote a message, a key or the path of a request.
_ABOUT_CODE: Final = (AttributeError, ImportError, ImproperlyConfigured, NameError, TypeError)
_DATA_EXCEPTION: Final = "22"
"""The class of SQLSTATE whose messages quote values (PostgreSQL, appendix A)."""


def configure(*, as_json: bool, level: str) -> None:
    """Send the log of every library to standard error, as text or as JSON."""
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _add_traceback,
            renderer,
        ],
    )
    handler = _Handler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_without_request)
    handler.addFilter(_without_text_of_libraries)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for verbose in _VERBOSE:
        logging.getLogger(verbose).setLevel(logging.WARNING)
    # Refused requests are in the audit log.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    if as_json:
        _log_uncaught_exceptions()


class _Handler(logging.StreamHandler[Any]):
    """Writes lines to standard error."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # of logging
        """Write an event about a record that cannot be formatted: logging would print a trace."""
        error = sys.exc_info()[0]
        if error is None or issubclass(error, OSError):
            return  # standard error is closed
        line = {"event": "log.unformatted", "level": "error", "logger": record.name}
        self.stream.write(json.dumps({**line, "error": error.__name__}) + self.terminator)


def _log_uncaught_exceptions() -> None:
    """Log what Python would print to standard error."""
    log = structlog.get_logger("python")

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        log.critical("process.crashed", exc_info=(kind, error, trace))

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            log.critical("thread.crashed", exc_info=args.exc_value)

    def ignored(args: "sys.UnraisableHookArgs") -> None:
        log.error("python.unraisable", exc_info=args.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, ignored


def _without_request(record: logging.LogRecord) -> bool:
    """Name Django's record of a request by its route; its path may be a secret.

    Set-up links, invitations and links of mails contain their secret in the path.
    """
    request = record.__dict__.pop("request", None)
    if request is None:
        return True
    match = getattr(request, "resolver_match", None)
    status = record.__dict__.get("status_code", 500)
    record.msg = "request.refused" if status < 500 else "request.failed"
    record.args = ()
    record.__dict__.update(method=getattr(request, "method", ""), route=match and match.route)
    if status == _UNAVAILABLE:
        record.msg, record.exc_info = "request.unavailable", None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _without_text_of_libraries(record: logging.LogRecord) -> bool:
    """Keep only the first line of messages that quote an exception."""
    if record.msg == _NO_TEXT:  # a client can cause it at will
        record.msg, record.exc_info = "socket.no_text", None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    if record.name in {"asyncio", "uvicorn.error"}:
        # asyncio adds the representation of the task, which contains the exception's text.
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
    return True


def _add_traceback(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by a traceback without the texts of exceptions."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = "".join(_describe(error, set())).rstrip("\n")
    return event


def _describe(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Yield the lines of a traceback: frames and types of the exception and of its causes."""
    seen.add(id(error))
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen:
        yield from _describe(cause, seen)
        yield "The exception above led to the next one.\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__module__}.{type(error).__qualname__}{_text_of(error)}\n"
    for inner in getattr(error, "exceptions", ()):
        if isinstance(inner, BaseException) and id(inner) not in seen:
            yield from _describe(inner, seen)


def _text_of(error: BaseException) -> str:
    """Return the text of an exception if it cannot quote data, else a number that names it."""
    if isinstance(error, _ABOUT_CODE):
        return f": {error}"
    if isinstance(error, psycopg.Error) and error.sqlstate:
        quotes_values = error.sqlstate.startswith(_DATA_EXCEPTION)
        message = None if quotes_values else error.diag.message_primary
        return f" (SQLSTATE {error.sqlstate})" + (f": {message}" if message else "")
    if isinstance(error, OSError) and error.errno is not None:
        return f" (errno {error.errno})"
    return ""
