"""What people call the browser and the system that a session was begun with."""

from collections.abc import Mapping
from typing import Final

from django import template

register = template.Library()

# In the order in which they are looked for: most call themselves by the names of others, too.
_BROWSERS: Final = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Whale/": "Whale",
    "Firefox/": "Firefox",
    "FxiOS": "Firefox",
    "Chrome/": "Chrome",
    "CriOS": "Chrome",
    "Safari/": "Safari",
}
_SYSTEMS: Final = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Mac OS X": "Mac",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


@register.filter
def device(user_agent: str) -> str:
    """Return "Chrome, Windows" for a User-Agent header, and one that nobody knows as it is."""
    known = [_first(names, user_agent) for names in (_BROWSERS, _SYSTEMS)]
    return ", ".join(name for name in known if name) or user_agent


def _first(names: Mapping[str, str], user_agent: str) -> str:
    return next((name for sign, name in names.items() if sign in user_agent), "")
