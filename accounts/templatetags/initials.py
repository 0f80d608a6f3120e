"""The initials in the avatar of a user."""

from django import template

from accounts import names

register = template.Library()

# An avatar smaller than this, in pixels, has room for one Hangul syllable.
_TWO_LETTERS_FROM = 32


@register.filter
def initials(name: str, size: str | int = "") -> str:
    """Return the initials of `name` for an avatar of `size` pixels."""
    small = str(size).isdigit() and int(size) < _TWO_LETTERS_FROM
    return names.initials(name, max_letters=1 if small else 2)
