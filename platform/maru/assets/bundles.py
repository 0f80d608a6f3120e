"""The bundles: one style sheet and one script, which every page uses, and its sentences.

A page needs few requests, and no file is downloaded again for the next page. `static/` keeps small
readable files: a bundle has all of `static/css/`, or all modules that its entry imports. What
few pages need is imported dynamically, from `static/vendor/`, and stays a file.
"""

import posixpath
import re
from pathlib import Path
from typing import Final

from maru.assets import modules, words
from maru.assets.spaces import compact_styles

FOLDER: Final = "bundles"
STYLES: Final = f"{FOLDER}/maru.css"
SCRIPT: Final = f"{FOLDER}/maru.js"
ENTRY: Final = "maru/page.js"
ALONE: Final = "maru/theme.js"
"""Runs before the first paint, which a module cannot."""

# tokens.css names the layers, so it is the first. In a layer, a rule follows those that it refines.
_ORDER: Final = [
    "css/base/tokens.css",
    "css/base/base.css",
    "css/base/layout.css",
    "css/components/icon.css",
    "css/components/button.css",
    "css/components/field.css",
    "css/components/form.css",
    "css/components/tag.css",
    "css/pages/tools.css",
    "css/components/mark.css",
    "css/components/planks.css",
    "css/base/sidebar.css",
    "css/base/dock.css",
    "css/base/header.css",
    "css/components/menu.css",
    "css/components/dialog.css",
    "css/components/card.css",
    "css/components/notice.css",
    "css/base/table.css",
    "css/components/toggle.css",
    "css/components/choice.css",
    "css/base/segments.css",
    "css/base/empty.css",
    "css/components/picks.css",
    "css/components/copied.css",
    "css/room/room.css",
    "css/room/timeline.css",
    "css/room/message.css",
    "css/room/message_tools.css",
    "css/room/reaction.css",
    "css/acting/step.css",
    "css/room/prose.css",
    "css/room/code.css",
    "css/room/composer.css",
    "css/room/picker.css",
    "css/room/panel.css",
]
_URL: Final = re.compile(r'(\burl\(")(\.[^"]+)(")')


def names() -> list[str]:
    """Return the paths of all bundles."""
    return [STYLES, SCRIPT, *words.names(FOLDER)]


def is_part(path: str) -> bool:
    """Return True for a file that pages get only as a part of a bundle."""
    if path.startswith("vendor/") or path == ALONE:
        return False
    return path.endswith((".css", ".js"))


def sources(bundle: str, root: Path) -> dict[str, str]:
    """Return the files of a bundle in their order, by path below `root`; none for translations.

    The process keeps the translations that it has read, so a change needs a restart.
    """
    if bundle in words.names(FOLDER):
        return {}
    if bundle == SCRIPT:
        return modules.order(ENTRY, lambda path: (root / path).read_text())
    others = {file.relative_to(root).as_posix() for file in root.glob("css/**/*.css")}
    paths = [*_ORDER, *sorted(others.difference(_ORDER))]
    return {path: (root / path).read_text() for path in paths}


def build(bundle: str, root: Path) -> str:
    """Return the text of a bundle. References in it are relative to its own place."""
    if language := words.names(FOLDER).get(bundle):
        return words.build(language)
    texts = sources(bundle, root)
    if bundle == SCRIPT:
        return modules.link(texts, FOLDER)
    return compact_styles("\n".join(_moved(path, text) for path, text in texts.items()))


def _moved(path: str, text: str) -> str:
    """Rewrite the references of a style sheet for its place."""

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[2]))
        return f"{match[1]}{posixpath.relpath(target, FOLDER)}{match[3]}"

    return _URL.sub(moved, text)
