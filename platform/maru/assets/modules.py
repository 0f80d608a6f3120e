"""Links ES modules into one, which a browser's tools can still show by function and name.

Each module becomes a function that returns its exports, named after its path. It stands behind the
modules that it imports, so a cycle of imports cannot be linked. Comments and unneeded spaces are
left out. The forms of import and export that the scripts do not use raise an error.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Final

from maru.assets.spaces import compact_script

_IMPORT: Final = re.compile(r'^import (?:(\{[^}]*\}) from )?"(\.[^"]+)";$', re.MULTILINE)
_DECLARED: Final = re.compile(
    r"^export (?=(?:async )?(?:function\*? ?|class |const )([\w$]+))", re.MULTILINE
)
_LISTED: Final = re.compile(r"^export \{([^}]*)\};?$", re.MULTILINE)
_DYNAMIC: Final = re.compile(r'(\bimport\()"(\.[^"]+)"')
_LEFT: Final = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


class CannotLink(Exception):
    """A script has a cycle of imports, or a form of import or export that is not supported."""


def imports_of(path: str, text: str) -> list[str]:
    """Return the paths of the modules that a module imports statically, without duplicates."""
    names = (posixpath.join(posixpath.dirname(path), name) for _, name in _IMPORT.findall(text))
    return list(dict.fromkeys(posixpath.normpath(name) for name in names))


def order(entry: str, read: Callable[[str], str]) -> dict[str, str]:
    """Return the text of `entry` and of all modules that it needs, by path, imported ones first."""
    texts: dict[str, str] = {}
    above: list[str] = []

    def visit(path: str) -> None:
        if path in above:
            raise CannotLink(f"{path} imports itself, by way of {' and '.join(above)}")
        if path in texts:
            return
        above.append(path)
        text = read(path)
        for imported in imports_of(path, text):
            visit(imported)
        above.pop()
        texts[path] = text

    visit(entry)
    return texts


def link(texts: Mapping[str, str], folder: str) -> str:
    """Return one module with the modules of `texts`, for a file in `folder`.

    Paths of dynamic imports are rewritten, so that they are relative to `folder`.
    """
    linked = "\n".join(_linked(path, text, folder) for path, text in texts.items())
    return compact_script(linked)


def _linked(path: str, text: str, folder: str) -> str:
    here = posixpath.dirname(path)
    exports = list(_DECLARED.findall(text))
    for listed in _LISTED.findall(text):
        for one in filter(None, map(str.strip, listed.split(","))):
            name, _, alias = one.partition(" as ")
            exports.append(f"{alias}: {name}" if alias else name)

    def imported(match: re.Match[str]) -> str:
        names, other = match.groups()
        module = _variable(posixpath.normpath(posixpath.join(here, other)))
        if not names:
            return ""
        return f"const {' '.join(names.split()).replace(' as ', ': ')} = {module};"

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(here, match[2]))
        return f'{match[1]}"{posixpath.relpath(target, folder)}"'

    text = _DYNAMIC.sub(moved, _LISTED.sub("", _DECLARED.sub("", _IMPORT.sub(imported, text))))
    if left := _LEFT.search(text):
        raise CannotLink(f"{path}: {left[0]}")
    body = text.strip("\n")
    returned = f"return {{ {', '.join(exports)} }};"
    return f"const {_variable(path)} = (() => {{\n{body}\n{returned}\n}})();\n"


def _variable(path: str) -> str:
    return "$" + re.sub(r"\W", "_", path.removesuffix(".js"))
