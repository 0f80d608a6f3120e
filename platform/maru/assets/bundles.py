"""The bundles: a style sheet and a script, which every page uses, its words, and what few need.

A page needs few requests, and no file is downloaded again for the next page. `static/` keeps small
readable files: the bundles of every page have `static/css/`, and all modules that `ENTRY` imports.
What few pages need is in bundles that scripts load on demand (`static/maru/on_demand.js`), or stays
a file of `static/vendor/`.
"""

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from maru.assets import modules, words
from maru.assets.spaces import compact_styles

FOLDER: Final = "bundles"
STYLES: Final = f"{FOLDER}/maru.css"
SCRIPT: Final = f"{FOLDER}/maru.js"
ENTRY: Final = "maru/page.js"
ON_DEMAND: Final = {
    f"{FOLDER}/acting.js": "rooms/acting/acting.js",
    f"{FOLDER}/emoji.js": "rooms/tools/emoji_picker.js",
    f"{FOLDER}/forms.js": "maru/forms/forms.js",
    f"{FOLDER}/thread.js": "rooms/threads/thread_panel.js",
}
"""The entry modules of the scripts that are loaded on demand. They share the modules of SCRIPT."""
STYLES_ON_DEMAND: Final = {
    f"{FOLDER}/acting.css": ["css/acting/"],
    f"{FOLDER}/emoji.css": ["css/room/emoji.css"],
    f"{FOLDER}/pages.css": [
        "css/forms/form.css",
        "css/base/table.css",
        "css/forms/toggle.css",
        "css/forms/choice.css",
        "css/base/segments.css",
        "css/forms/picks.css",
        "css/components/copied.css",
        "css/base/dock.css",
        "css/pages/home.css",
        "css/pages/tools.css",
        "css/pages/entry.css",
        "css/pages/reference.css",
        "css/pages/run.css",
        "css/pages/scan.css",
        "css/pages/setup.css",
        "css/pages/studio.css",
    ],
}
"""Files and folders, in their order. Templates link the sheet where a page needs it."""
ALONE: Final = "maru/theme.js"
"""Runs before the first paint, which a module cannot."""

# tokens.css names the layers, so it is the first. In a layer, a rule follows those that it refines.
_ORDER: Final = [
    "css/base/tokens.css",
    "css/base/base.css",
    "css/base/layout.css",
    "css/components/icon.css",
    "css/components/button.css",
    "css/forms/field.css",
    "css/components/tag.css",
    "css/components/mark.css",
    "css/components/planks.css",
    "css/base/sidebar.css",
    "css/base/header.css",
    "css/components/floating.css",
    "css/components/menu.css",
    "css/components/dialog.css",
    "css/components/card.css",
    "css/components/notice.css",
    "css/base/empty.css",
    "css/components/fold.css",
    "css/components/raw.css",
    "css/forms/option.css",
    "css/room/room.css",
    "css/room/timeline.css",
    "css/room/message.css",
    "css/room/message_tools.css",
    "css/room/reaction.css",
    "css/room/prose.css",
    "css/room/code.css",
    "css/room/composer.css",
    "css/room/picker.css",
    "css/room/panel.css",
]
_URL: Final = re.compile(r'(\burl\(")(\.[^"]+)(")')


def names() -> list[str]:
    """Return the paths of all bundles."""
    return [STYLES, *STYLES_ON_DEMAND, SCRIPT, *ON_DEMAND, *words.names(FOLDER)]


def is_part(path: str) -> bool:
    """Return True for a file that pages get only as a part of a bundle."""
    if path.startswith("vendor/") or path == ALONE:
        return False
    return path.endswith((".css", ".js"))


def sources(bundle: str, root: Path) -> dict[str, str]:
    """Return the files of a bundle in their order, by path below `root`; none for languages.

    The process keeps the translations that it has read, so a change needs a restart.
    """
    if bundle in words.names(FOLDER):
        return {}
    if bundle == SCRIPT:
        return modules.order(ENTRY, lambda path: (root / path).read_text())
    if bundle in ON_DEMAND:
        return _on_demand(bundle, root, sources(SCRIPT, root))
    others = {file.relative_to(root).as_posix() for file in root.glob("css/**/*.css")}
    if bundle in STYLES_ON_DEMAND:
        places = STYLES_ON_DEMAND[bundle]
        paths = [path for place in places for path in sorted(others) if path.startswith(place)]
    else:
        rare = tuple(place for places in STYLES_ON_DEMAND.values() for place in places)
        others = {path for path in others if not path.startswith(rare)}
        paths = [*_ORDER, *sorted(others.difference(_ORDER))]
    return {path: (root / path).read_text() for path in paths}


def watched(bundle: str, root: Path) -> list[str]:
    """Return the files whose change may change a bundle: SCRIPT has what the others import."""
    others = ON_DEMAND if bundle == SCRIPT else ()
    return [path for one in (bundle, *others) for path in sources(one, root)]


def build(bundle: str, root: Path) -> str:
    """Return the text of a bundle. References in it are relative to its own place."""
    if bundle in words.names(FOLDER):
        return words.build(bundle)
    texts = sources(bundle, root)
    if bundle == SCRIPT:
        given = {path for one in ON_DEMAND for path in _shared(_on_demand(one, root, texts), texts)}
        return modules.link(texts, sorted(given))
    if entry := ON_DEMAND.get(bundle):
        return modules.link_more(texts, _shared(texts, sources(SCRIPT, root)), entry)
    return compact_styles("\n".join(_moved(path, text) for path, text in texts.items()))


def _on_demand(bundle: str, root: Path, loaded: Mapping[str, str]) -> dict[str, str]:
    """Return the modules of a bundle that are not in SCRIPT, whose modules are `loaded`."""
    needed = modules.order(ON_DEMAND[bundle], lambda path: (root / path).read_text())
    return {path: text for path, text in needed.items() if path not in loaded}


def _shared(texts: Mapping[str, str], loaded: Mapping[str, str]) -> list[str]:
    """Return the `loaded` modules that `texts` import."""
    imported = {one for path, text in texts.items() for one in modules.imports_of(path, text)}
    return sorted(imported.intersection(loaded))


def _moved(path: str, text: str) -> str:
    """Rewrite the references of a style sheet for its place."""

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[2]))
        return f"{match[1]}{posixpath.relpath(target, FOLDER)}{match[3]}"

    return _URL.sub(moved, text)
