"""The address of the file with all icons."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django import template
from django.templatetags.static import static

register = template.Library()

_is_left_out: ContextVar[bool] = ContextVar("_is_left_out", default=False)


@register.simple_tag
def sprite() -> str:
    """Return the address of the icons, to which `#` and the name of an icon are added."""
    return "" if _is_left_out.get() else static("icons.svg")


@contextmanager
def sprite_left_out() -> Iterator[None]:
    """Render icons without the address, which `static/maru/on_demand.js` adds.

    A static file that contains it could not be built before the addresses are known.
    """
    token = _is_left_out.set(True)
    try:
        yield
    finally:
        _is_left_out.reset(token)
