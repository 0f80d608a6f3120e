"""What the scripts of all rooms need in a language; it is in a static file, not in each page."""

from typing import Any, Final

from django.template.loader import render_to_string

from accounts.names import LOOK_ALIKES
from accounts.templatetags.sprite import sprite_left_out
from rooms.pages.acting.round_strip import Strip
from rooms.pages.layout import RULES_FOR_SCRIPTS
from rooms.pages.panel import role_words
from rooms.pages.timeline import template_item
from rooms.protocol.call_words import words_for_scripts
from rooms.protocol.failures import failure_sentences
from rooms.runs.leases import MAX_ATTEMPTS

QUICK_REACTIONS: Final = ("👍", "❤", "😄", "🎉", "👀", "✅", "🙏", "😢")


def shared_data() -> dict[str, Any]:
    """Return the data that `static/rooms/open/page_data.js` adds to those of each room."""
    return {
        "attempts": MAX_ATTEMPTS,
        "layout": RULES_FOR_SCRIPTS,
        "look_alikes": {chr(letter): chr(like) for letter, like in LOOK_ALIKES.items()},
        "roles": role_words(),
        "failures": failure_sentences(),
        "calls": words_for_scripts(),
    }


def cloned_parts() -> str:
    """Return the `<template>` elements that scripts clone, the same for each room and reader."""
    return _render("rooms/_templates.html")


def acting_parts() -> str:
    """Return the `<template>` elements of the bundle `acting`."""
    return _render("rooms/acting/_templates.html")


def _render(template: str) -> str:
    """Render templates without an item, a CSRF token, and addresses that are not known yet."""
    context = {
        "template_items": [template_item("user"), template_item("persona")],
        "template_ask": {"id": "", "title": [], "note": "", "may_for_run": True},
        "template_round": Strip(id=None, steps=[], may_stop=False, may_skip=False),
        "quick_reactions": QUICK_REACTIONS,
        "me": {"handle": ""},
    }
    with sprite_left_out():
        return render_to_string(template, context)
