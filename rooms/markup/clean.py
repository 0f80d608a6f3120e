"""The allow-list of tags, attributes, classes and URL schemes in the HTML of a message."""

from collections.abc import Mapping
from typing import Final

import nh3

from rooms.markup.code import CLASSES as CODE_CLASSES

LINK_REL: Final = "noopener noreferrer nofollow ugc"
SCHEMES: Final = frozenset({"http", "https", "mailto"})

_ATTRIBUTES: Final[Mapping[str, set[str]]] = {
    "*": set(),  # nh3 would allow `title` on every tag
    "a": {"href", "target"},
    "ol": {"start"},
    "th": {"data-align"},
    "td": {"data-align"},
    "li": {"value"},
    "span": {"data-handle"},
}
_CLASSES: Final[Mapping[str, set[str]]] = {
    "p": {"plain-text", "footnote"},
    "bdi": {"link-host"},
    "div": {"code", "code-file", "table-scroll", "math"},
    "li": {"task"},
    "span": {"mention", "math", "task-box", *CODE_CLASSES},
    "sup": {"footnote-ref", "footnote-label"},
}
_TEXT: Final = {
    "p",
    "br",
    "hr",
    "strong",
    "em",
    "s",
    "bdi",
    "code",
    "h3",
    "h4",
    "h5",
    "a",
    "span",
    "sup",
}
_BLOCKS: Final = {
    "ul",
    "ol",
    "li",
    "blockquote",
    "pre",
    "div",
    "table",
    "thead",
    "tbody",
}
_CELLS: Final = {"tr", "th", "td"}

_CLEANER: Final = nh3.Cleaner(
    tags=_TEXT | _BLOCKS | _CELLS,
    attributes=dict(_ATTRIBUTES),
    allowed_classes=dict(_CLASSES),
    set_tag_attribute_values={"a": {"target": "_blank"}},
    url_schemes=set(SCHEMES),
    link_rel=LINK_REL,
    strip_comments=True,
)


def clean(html: str) -> str:
    """Return `html` without anything that is not on the allow-list."""
    return _CLEANER.clean(html)
