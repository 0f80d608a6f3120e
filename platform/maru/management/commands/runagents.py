"""Starts one agents worker: it answers what people ask, and serves nothing."""

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

DRAIN_SECONDS = 25


class Command(BaseCommand):
    help = "Run answers until told to stop; SIGTERM lets those that are running end."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.EMBEDDED:
            raise CommandError(
                "The embedded profile answers in its one process: start `make run`. "
                "Workers need MARU_REDIS_URL and MARU_DATABASE_URL."
            )
        database.prepare()
        try:
            uvloop.run(_work())
        except CompanionEnded:
            raise CommandError("A part of this worker has ended; the log says why.") from None


async def _work() -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with publisher({}), running(listen(), "listening"), answering(DRAIN_SECONDS):
        await stop.wait()
