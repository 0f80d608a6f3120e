"""Inspects a server from a web process, in a child process. Blocking, and bounded in time and size.

Secrets go through standard input: other users of the machine can read arguments, and the child
gets none of this process' environment but what Python and TLS need.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings

from accounts.errors import RateLimited
from agents.mcp.definitions import Definition

SECONDS: Final = 30.0
"""The whole inspection, the start of the process included."""
MAX_REPORT_BYTES: Final = 16 * 1024 * 1024
MAX_CONCURRENT: Final = 2
KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")

_slots: Final = BoundedSemaphore(MAX_CONCURRENT)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What an inspection has found. `problem` is a FailureCode of `agents.mcp.transport`, or empty.

    `left_out` are the names of tools whose definitions break a limit.
    """

    problem: str = ""
    tools: tuple[Definition, ...] = ()
    left_out: tuple[str, ...] = ()
    challenge: str = ""


def inspect_server(*, url: str, team_id: UUID, headers: Mapping[str, str]) -> Report:
    """Connect to a server and list its tools; raise RateLimited if too many inspections run."""
    if not _slots.acquire(blocking=False):
        raise RateLimited(retry_after=int(SECONDS))
    try:
        proxy = settings.EGRESS_PROXY
        target = {
            "url": url,
            "team": str(team_id),
            "headers": dict(headers),
            "egress_allow": sorted(settings.EGRESS_ALLOW),
            "egress_proxy": None
            if proxy is None
            else {
                name: getattr(proxy, name)
                for name in ("scheme", "host", "port", "user", "password")
            },
        }
        return _read(_run(json.dumps(target).encode()))
    finally:
        _slots.release()


def _run(target: bytes) -> bytes:
    """Return what the child writes; less, or nothing, if it fails or exceeds a bound."""
    environment = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    child = subprocess.Popen(
        [sys.executable, "-m", "agents.mcp.inspect"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    limit = threading.Timer(SECONDS, child.kill)
    limit.start()
    try:
        with child.stdin, child.stdout:
            child.stdin.write(target)
            child.stdin.close()
            return child.stdout.read(MAX_REPORT_BYTES)
    except BrokenPipeError:
        return b""
    finally:
        child.kill()
        child.wait()
        limit.cancel()


def _read(output: bytes) -> Report:
    try:
        found: dict[str, Any] = json.loads(output)
    except (ValueError, RecursionError):
        log.warning("mcp.inspection_failed")
        return Report(problem="timeout")
    return Report(
        problem=str(found["problem"]),
        tools=tuple(Definition(**tool) for tool in found.get("tools", ())),
        left_out=tuple(found.get("left_out", ())),
        challenge=str(found.get("challenge", "")),
    )
