"""Starts one agents worker, which runs answers and serves no HTTP."""

import asyncio
import signal
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from maru.config import database
from maru.server.answer_worker import answering
from maru.server.lifespan import CompanionEnded, publisher, running
from maru.server.pg_listener import listen
from maru.server.purging import purging

DRAIN_SECONDS = 25


class Command(BaseCommand):
    help = "Run answers until SIGTERM, which drains running answers for up to 25 seconds."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.EMBEDDED:
            raise CommandError(
                "The embedded profile runs answers in the web process: start `make run`. "
                "Workers need MARU_REDIS_URL and MARU_DATABASE_URL."
            )
        database.prepare()
        try:
            uvloop.run(_work())
        except CompanionEnded:
            raise CommandError(
                "A task of this worker ended unexpectedly; the log has the reason."
            ) from None


async def _work() -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with publisher({}), running(listen(), "listening"), purging(), answering(DRAIN_SECONDS):
        await stop.wait()
