"""Which template surrounds a page: a script asks for the main column only when it changes rooms."""

from django.http import HttpRequest


def frame(request: HttpRequest) -> dict[str, str]:
    """Return the template that `shell.html` extends, as a context processor."""
    return {"frame": "part.html" if request.headers.get("X-Maru-Part") == "main" else "base.html"}
