"""Health checks and metrics of a process: /healthz, /readyz and /metrics."""

import shutil
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from accounts import disk
from accounts.database import is_database_available
from accounts.errors import NotFound
from accounts.redis_server import sync_redis
from maru.monitoring import exposition
from rooms import metrics as counters
from rooms.runs import workers

LAYER_SECONDS = 1
FREE_BYTES: Final = 4 * 1024 * 1024
"""Free space in the data folder below which a write of SQLite may fail."""


@require_safe
@login_not_required
def healthz(request: HttpRequest) -> JsonResponse:
    """Return 200 if the process serves requests."""
    return JsonResponse({"status": "ok"})


@require_safe
@login_not_required
def readyz(request: HttpRequest) -> JsonResponse:
    """Return 200 if this process may get requests, else 503; name what is missing.

    Without the database nothing can be served. Without a worker, the layer or free disk space,
    rooms can still be read, and every other process has the same trouble: the process is degraded.
    """
    if not is_database_available():
        reasons = ["database", *_report_missing(database=False)]
        answer = {"status": "unavailable", "reasons": reasons}
        return JsonResponse(answer, status=HTTPStatus.SERVICE_UNAVAILABLE)
    if reasons := _report_missing(database=True):
        return JsonResponse({"status": "degraded", "reasons": reasons})
    return JsonResponse({"status": "ok"})


@require_safe
@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the Prometheus metrics; 404 outside the networks of MARU_METRICS_ALLOW."""
    if not _may_read_metrics(request):
        raise NotFound
    return HttpResponse(exposition.metrics_text(), content_type=exposition.CONTENT_TYPE)


def _report_missing(*, database: bool) -> list[str]:
    """Return the missing parts that do not keep the process from serving; set their metrics."""
    missing = list(_missing(database=database))
    for reason in counters.DEGRADED_REASONS:
        counters.DEGRADED.labels(reason).set(reason in missing)
    return missing


def _missing(*, database: bool) -> Iterator[str]:
    if disk.was_full_lately() or _has_full_data_folder():
        yield "disk"
    if settings.EMBEDDED:  # one process, which is its own worker and has its own layer
        return
    if database and not _has_worker():
        yield "worker"
    if not _has_layer():
        yield "layer"


def _has_full_data_folder() -> bool:
    """Return True if SQLite has too little space; PostgreSQL is on another disk."""
    return settings.EMBEDDED and shutil.disk_usage(settings.DATA_DIR).free < FREE_BYTES


def _has_worker() -> bool:
    try:
        return workers.any_alive()
    except Error:  # it went away after the check of the database
        return False


def _has_layer() -> bool:
    """Return True if Redis answers within LAYER_SECONDS."""
    limits = {"socket_timeout": LAYER_SECONDS, "socket_connect_timeout": LAYER_SECONDS}
    try:
        with sync_redis(**limits) as layer:
            layer.ping()
    except redis.RedisError:
        return False
    return True


def _may_read_metrics(request: HttpRequest) -> bool:
    """Return True if the client's IP is allowed. Behind an untrusted proxy, the IP is unknown."""
    if "X-Forwarded-For" in request.headers and not settings.TRUSTED_PROXIES:
        return False
    return exposition.may_read(request.META.get("REMOTE_ADDR", ""))  # a Unix peer has none
