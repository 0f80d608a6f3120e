"""Health checks and metrics of a process: /healthz, /readyz and /metrics."""

from ipaddress import IPv6Address, ip_address

import prometheus_client
import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from accounts.errors import NotFound
from rooms.runs import workers

LAYER_SECONDS = 1


@require_safe
@login_not_required
def healthz(request: HttpRequest) -> JsonResponse:
    """Return 200 if the process serves requests."""
    return JsonResponse({"status": "ok"})


@require_safe
@login_not_required
def readyz(request: HttpRequest) -> JsonResponse:
    """Return 200 if the database, the layer and a worker are available, else 503 with reasons."""
    reasons = [*(_database() or _worker()), *_layer()]
    if reasons:
        return JsonResponse({"status": "unavailable", "reasons": reasons}, status=503)
    return JsonResponse({"status": "ok"})


@require_safe
@login_not_required
def metrics(request: HttpRequest) -> HttpResponse:
    """Return the Prometheus metrics; 404 outside the networks of MARU_METRICS_ALLOW."""
    if not _may_read_metrics(request):
        raise NotFound
    return HttpResponse(
        prometheus_client.generate_latest(), content_type=prometheus_client.CONTENT_TYPE_LATEST
    )


def _database() -> list[str]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return ["database"]
    return []


def _worker() -> list[str]:
    """Return the reason if no worker is alive; an embedded process is its own worker."""
    return [] if settings.EMBEDDED or workers.any_alive() else ["worker"]


def _layer() -> list[str]:
    if settings.EMBEDDED:
        return []
    limits = {"socket_timeout": LAYER_SECONDS, "socket_connect_timeout": LAYER_SECONDS}
    try:
        with redis.Redis.from_url(settings.REDIS_URL, **limits) as layer:
            layer.ping()
    except redis.RedisError:
        return ["layer"]
    return []


def _may_read_metrics(request: HttpRequest) -> bool:
    """Return True if the client's IP is allowed. Behind an untrusted proxy, the IP is unknown."""
    if "X-Forwarded-For" in request.headers and not settings.TRUSTED_PROXIES:
        return False
    try:
        address = ip_address(request.META["REMOTE_ADDR"])
    except ValueError:  # the client of a Unix socket has no IP
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in settings.METRICS_ALLOW)
