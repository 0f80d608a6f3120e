"""Which template surrounds a page: a script asks for the main column only when it changes rooms."""

from django.http import HttpRequest


def is_part(request: HttpRequest) -> bool:
    """Return True if a script asks for the main column of a page."""
    return request.headers.get("X-Maru-Part") == "main"


def frame(request: HttpRequest) -> dict[str, str]:
    """Return the template that `shell.html` extends, as a context processor."""
    return {"frame": "part.html" if is_part(request) else "base.html"}
