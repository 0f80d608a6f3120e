"""Starts one agents worker, which runs answers and serves no HTTP."""

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from maru.config import database, postgres, redis_start
from maru.config.malloc import share_arenas
from maru.config.terminal import give_up
from maru.monitoring import exposition, worker_endpoint
from maru.server.answer_worker import answering
from maru.server.lifespan import CompanionEnded, publisher, running
from maru.server.pg_listener import listen
from maru.server.purging import purging
from rooms.runs.runner import Runner

DRAIN_SECONDS = 25


class Command(BaseCommand):
    help = "Run answers until SIGTERM, which drains running answers for up to 25 seconds."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.EMBEDDED:
            raise CommandError(
                "The embedded profile runs answers in the web process: start `make run`. "
                "Workers need MARU_REDIS_URL and MARU_DATABASE_URL."
            )
        share_arenas()
        listener = _listen()
        exposition.start()
        postgres.end_stalled_sessions()
        database.prepare()
        redis_start.check_redis()
        try:
            uvloop.run(_work(listener))
        except CompanionEnded:
            give_up("A task of this worker ended unexpectedly; the log has the reason.")


def _listen() -> socket.socket | None:
    """Return the listener of the endpoint, or None without MARU_METRICS_PORT."""
    host, port = settings.METRICS_HOST, settings.METRICS_PORT
    if port is None:
        return None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno or 0)  # create_server adds the address to `strerror`
        raise CommandError(
            f"The worker cannot serve its metrics on {host}:{port}: {reason}. "
            "Change MARU_METRICS_HOST or MARU_METRICS_PORT; each worker needs its own port."
        ) from None


async def _work(listener: socket.socket | None) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    runner = Runner(settings.RUN_CONCURRENCY)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(publisher({}))
        if listener is not None:  # outside `answering`: it is served until the drain has ended
            serving = worker_endpoint.serve(listener, runner)
            await stack.enter_async_context(running(serving, "worker endpoint"))
        await stack.enter_async_context(running(listen(), "listening"))
        await stack.enter_async_context(purging())
        await stack.enter_async_context(answering(runner, DRAIN_SECONDS))
        await stop.wait()
