"""Deletes rows that are no longer needed, and repairs others.

Hourly in a worker, daily by the command `purge`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog
from django.conf import settings

from accounts.api.idempotency import purge_responses
from accounts.errors import is_outage
from accounts.services import purge_expired, purge_teams
from maru.server.lifespan import running
from rooms.executors import RUNS, in_thread
from rooms.runs.prompts.recorded import purge_prompts
from rooms.runs.prompts.summaries import purge_summaries
from rooms.services import purge_rooms, repair_owners

log = structlog.get_logger(__name__)

PURGE_SECONDS: Final = 3600.0


def purge(*, teams: bool) -> dict[str, int]:
    """Repair owners and delete what has expired; return the number of rows of each kind.

    With `teams`, also deleted teams with their audit log: only the owner of the tables may do so.
    A kind that fails is logged and left out, and the other kinds are deleted.
    """
    kinds: dict[str, Callable[[], int]] = {
        "owners": repair_owners,
        "teams": purge_teams if teams else int,
        "rooms": purge_rooms,
        "prompts": purge_prompts,
        "summaries": purge_summaries,
        "responses": purge_responses,
        "credentials": purge_expired,
    }
    done = {}
    for kind, work in kinds.items():
        try:
            done[kind] = work()
        except Exception as error:  # the next purge deletes the rows
            trace = not is_outage(error)
            log.warning("purge.failed", kind=kind, error=type(error).__name__, exc_info=trace)
    return done


@asynccontextmanager
async def purging() -> AsyncIterator[None]:
    """Purge at once and then every PURGE_SECONDS while the context is open.

    The one process of the embedded profile owns its tables; in the production profile the command
    `purge` deletes the teams. Several workers may purge at the same time.
    """
    async with running(_purge_hourly(), "purging"):
        yield


async def _purge_hourly() -> None:
    while True:
        try:
            deleted = await in_thread(RUNS, purge, teams=settings.EMBEDDED)
            if any(deleted.values()):
                log.info("purge.done", **deleted)
        except Exception as error:  # the next purge deletes the rows
            trace = not is_outage(error)
            log.warning("purge.failed", error=type(error).__name__, exc_info=trace)
        await asyncio.sleep(PURGE_SECONDS)
