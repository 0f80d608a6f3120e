"""The browser and operating system of a session, for its list entry."""

from collections.abc import Mapping
from typing import Final

from django import template

register = template.Library()

# Ordered: most User-Agent headers also contain the names of other browsers.
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
    """Return, for example, "Chrome, Windows"; an unknown User-Agent is returned unchanged."""
    known = [_first_match(names, user_agent) for names in (_BROWSERS, _SYSTEMS)]
    return ", ".join(name for name in known if name) or user_agent


def _first_match(names: Mapping[str, str], user_agent: str) -> str:
    return next((name for token, name in names.items() if token in user_agent), "")
