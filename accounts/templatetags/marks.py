"""Template filters for the marks that stand for people."""

from django import template

from accounts import names

register = template.Library()

# Under this many pixels a circle has room for one Hangul syllable only.
_ROOM_FOR_TWO = 32


@register.filter
def initials(name: str, size: str | int = "") -> str:
    """The letters inside a person's circle of that size."""
    small = str(size).isdigit() and int(size) < _ROOM_FOR_TWO
    return names.initials(name, most=1 if small else 2)
