"""Measures the latencies of one attempt at an answer."""

import time

from rooms import metrics
from rooms.runs.lifecycle import Job


class Stopwatch:
    """Observes the latencies of one attempt, from its claim."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._claimed_at = time.monotonic()
        self._is_streaming = False
        if job.attempt == 1:  # a later attempt has waited and streamed before
            metrics.RUN_WAIT_SECONDS.observe(job.waited)

    def text_received(self) -> None:
        """Observe the latency of the first text; later calls do nothing."""
        if self._is_streaming:
            return
        self._is_streaming = True
        seconds = time.monotonic() - self._claimed_at
        metrics.RUN_START_SECONDS.observe(seconds)
        if self._job.attempt == 1:
            metrics.RUN_FIRST_TOKEN_SECONDS.observe(self._job.waited + seconds)

    def run_ended(self) -> None:
        """Observe the latency of the whole answer."""
        metrics.RUN_SECONDS.observe(self._job.waited + time.monotonic() - self._claimed_at)
