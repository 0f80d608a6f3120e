"""The response to an error that no view and no middleware handles."""

import sys

from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import defaults
from redis import RedisError

from accounts.api.bodies import error_response
from accounts.disk import is_disk_full, unavailable
from accounts.errors import DiskFull, Unavailable, is_outage


def outage_of(error: BaseException | None) -> Unavailable | None:
    """Return what is reported if `error` means that the database, Redis or the disk fails.

    Sign-in needs the rate limit counters, which are in Redis.
    """
    if isinstance(error, RedisError) or (isinstance(error, DatabaseError) and is_outage(error)):
        return unavailable(error)
    return unavailable(error) if error is not None and is_disk_full(error) else None


def server_error(request: HttpRequest) -> HttpResponse:
    """Return 503 if the database is unavailable, else 500.

    Django calls this function while it handles the exception. The database can also fail in a
    middleware, for example when the session is read: `process_exception` is not called then.
    """
    outage = outage_of(sys.exc_info()[1])
    if outage is None:
        return defaults.server_error(request)
    if request.path_info.startswith("/api/"):
        return error_response(outage)
    detail = outage.detail if isinstance(outage, DiskFull) else None
    return render(request, "503.html", {"detail": detail}, status=outage.status)
