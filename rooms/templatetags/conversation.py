"""Template filters for the lines of a conversation and the forms around it."""

from collections.abc import Iterable

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.filter
def addressed_to(html: str, handle: str) -> SafeString:
    """Message HTML, in which the mentions of one reader are marked as theirs.

    `html` is that of `rooms.markup`, the one place where what people write becomes markup.
    """
    mine = f'data-handle="{escape(handle)}"'
    return mark_safe(html.replace(mine, f'{mine} data-state="me"'))  # noqa: S308 # see above


@register.filter
def is_among(value: object, chosen: Iterable[object] | None) -> bool:
    """Whether a form that comes back has this choice ticked."""
    return str(value) in {str(one) for one in chosen or ()}
