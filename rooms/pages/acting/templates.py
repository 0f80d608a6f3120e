"""Empty parts, from which the page's `<template>` elements for scripts are rendered."""

from typing import Any, Final

from rooms.pages.acting.round_strip import Strip

TEMPLATES: Final[dict[str, Any]] = {
    "template_ask": {"id": "", "title": [], "note": "", "may_for_run": True},
    "template_round": Strip(id=None, steps=[], may_stop=False, may_skip=False),
}
