"""Template filters for messages."""

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from rooms.markup.mentions import CHIP_OPEN

register = template.Library()


@register.filter
def addressed_to(html: str, handle: str) -> SafeString:
    """Return the HTML of a message with the mentions of the reader highlighted.

    `html` must come from `rooms.markup`, which has sanitized it.
    """
    mine = f'{CHIP_OPEN}"{escape(handle)}"'
    return mark_safe(html.replace(mine, f'{mine} data-state="me"'))  # noqa: S308 # see above
