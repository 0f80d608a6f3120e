"""Middleware of every HTTP response: cache headers, audit of refusals, rate limit, error pages."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import sync_only_middleware

from accounts import rate_limits
from accounts.audit.log import audit_refusal, client_address, get_refusal, set_refusal
from accounts.errors import MaruError, MfaRequired, RateLimited
from accounts.models import User
from maru.web.server_errors import outage_of

Handler = Callable[[HttpRequest], HttpResponse]

PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@sync_only_middleware
def probes_by_any_name(get_response: Handler) -> Handler:
    """Accept every Host header on the paths of probes, which address a process by its IP.

    Their answers depend neither on the host nor on a session, which only the database could read.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info in PROBES:
            request.META["HTTP_HOST"] = "localhost"
            request.META.pop("HTTP_COOKIE", None)
        return get_response(request)

    return middleware


@sync_only_middleware
def private_pages(get_response: Handler) -> Handler:
    """Forbid caching of every response, unless the view has set Cache-Control itself."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response

    return middleware


@sync_only_middleware
def audited(get_response: Handler) -> Handler:
    """Set the client's IP for audit entries, and write an entry for each refused change."""

    def middleware(request: HttpRequest) -> HttpResponse:
        before = client_address.set(request.META.get("REMOTE_ADDR", ""))
        try:
            response = get_response(request)
            error = get_refusal(request)
            if error is not None and request.method not in _READS:
                _audit_refusal(request, error)
        finally:
            client_address.reset(before)
        return response

    return middleware


def _audit_refusal(request: HttpRequest, error: MaruError) -> None:
    """Write an audit entry: the action is the route, the target is the last id in the URL."""
    match = request.resolver_match
    route = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", match.route) if match else ""
    ids = dict(_ids_in(match.kwargs)) if match else {}
    kind, thing = ids.popitem() if ids else ("", None)
    audit_refusal(
        request.user if isinstance(request.user, User) else None,
        f"{request.method} /{route}",
        error,
        target_kind=kind,
        target_id=thing,
        context={name: str(one) for name, one in ids.items()},
    )


def _ids_in(kwargs: Mapping[str, object]) -> Iterator[tuple[str, UUID]]:
    """Yield the ids in a URL with their kinds. Other URL parts may be secrets and are omitted."""
    for name, value in kwargs.items():
        with suppress(ValueError):
            if name.endswith("_id"):
                yield name.removesuffix("_id"), UUID(str(value))


@sync_only_middleware
def counted(get_response: Handler) -> Handler:
    """Apply the rate limit of API calls to unsafe requests of pages, also to refused requests."""

    def middleware(request: HttpRequest) -> HttpResponse:
        changes = request.method not in _READS and not _is_of_the_api(request)
        if changes and isinstance(request.user, User):
            try:
                rate_limits.consume(rate_limits.CALL, request.user)
            except RateLimited as error:
                return _error_page(request, error)
        return get_response(request)

    return middleware


def _is_of_the_api(request: HttpRequest) -> bool:
    """Return True for API requests, which the API itself authenticates and rate-limits."""
    return request.path_info.startswith("/api/")


class NamedErrors:
    """Renders an error page for a MaruError that a view raises.

    Redirects for MfaRequired, and for a GET of a URL that accepts only POST.
    """

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED and _is_a_visit(request):
            # After sign-in, `next` may name a URL that accepts only POST.
            return redirect("rooms:home")
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        error = outage_of(error) or error
        if not isinstance(error, MaruError):
            return None
        set_refusal(request, error)
        if isinstance(error, MfaRequired):
            messages.info(request, str(error.detail))
            return redirect("mfa_index")
        return _error_page(request, error)


def _error_page(request: HttpRequest, error: MaruError) -> HttpResponse:
    page = f"{error.status}.html" if error.status in {403, 404, 429, 503} else "400.html"
    response = render(request, page, {"detail": error.detail}, status=error.status)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return response


def _is_a_visit(request: HttpRequest) -> bool:
    """Return True for a GET by a browser on a page URL."""
    if request.method != "GET" or _is_of_the_api(request):
        return False
    return request.accepts("text/html")
