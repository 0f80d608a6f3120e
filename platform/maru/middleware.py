"""What every page gets: no shared cache keeps it, and our own errors become the fitting answer."""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import sync_only_middleware

from accounts.errors import MaruError

Handler = Callable[[HttpRequest], HttpResponse]


@sync_only_middleware
def private_pages(get_response: Handler) -> Handler:
    """Keep every answer out of every cache, except where a view has said something itself."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response

    return middleware


class NamedErrors:
    """Answer an error of ours that a page lets through; absent and foreign look the same."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED and _is_a_visit(request):
            return redirect("rooms:home")  # back from signing in, to where only a form leads
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, MaruError):
            return None
        page = f"{error.status}.html" if error.status in {403, 404} else "400.html"
        return render(request, page, {"detail": error.detail}, status=error.status)


def _is_a_visit(request: HttpRequest) -> bool:
    """Whether a person has come here by an address, and not a program by a method."""
    return request.method == "GET" and request.accepts("text/html") and "/api/" not in request.path
