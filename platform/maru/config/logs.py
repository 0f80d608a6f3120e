"""Log lines are events with ids: never message text, never a key."""

import logging
import sys
from typing import Any

import structlog
from structlog.typing import Processor

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

_NO_TEXT = "Invalid UTF-8 sequence received from client."


def configure(config: dict[str, Any]) -> None:
    """Write every line of every library to standard error, as `text` or as `json`."""
    as_json = config["format"] == "json"
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    final: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        final.append(structlog.processors.format_exc_info)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED, processors=[*final, renderer]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(config["level"])
    for chatty in (
        "asyncio",
        "crewai_core",
        "httpcore",
        "httpx",
        "openai",
        "urllib3",
        "uvicorn.error",
    ):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It warns of each answer that says no, by its path: whoever was refused is in the audit, and
    # some paths let people in.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").addFilter(_without_trace)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _without_trace(record: logging.LogRecord) -> bool:
    """Have uvicorn say in one line that a client sent no text: that is nobody's error here."""
    if record.msg == _NO_TEXT:
        record.msg, record.exc_info = "socket.no_text", None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True
