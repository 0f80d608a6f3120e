"""Links ES modules into one, which a browser's tools can still show by function and name.

Each module becomes a function that returns its exports, named after its path. It stands behind the
modules that it imports, so a cycle of imports cannot be linked. Comments and unneeded spaces are
left out. The forms of import and export that the scripts do not use raise an error.

A script that is loaded later is a function of the modules that it shares with the first one, so a
module exists once. It does not import the first one, because each name has the hash of a content.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from maru.assets.spaces import compact_script

_IMPORT: Final = re.compile(r'^import (?:(\{[^}]*\}) from )?"(\.[^"]+)";$', re.MULTILINE)
_DECLARED: Final = re.compile(
    r"^export (?=(?:async )?(?:function\*? ?|class |const )([\w$]+))", re.MULTILINE
)
_LISTED: Final = re.compile(r"^export \{([^}]*)\};?$", re.MULTILINE)
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


GIVER: Final = "maru/on_demand.js"
"""The module that passes the modules of the first script to those that are loaded later."""


def link(texts: Mapping[str, str], given: Iterable[str] = ()) -> str:
    """Return one module with the modules of `texts`, of which the last one is the entry.

    The modules `given` are passed to GIVER before the entry.
    """
    *linked, entry = (_linked(path, text) for path, text in texts.items())
    if names := ", ".join(map(_variable, given)):
        linked.append(f"{_variable(GIVER)}.give({{ {names} }});\n")
    return compact_script("\n".join([*linked, entry]))


def link_more(texts: Mapping[str, str], shared: Iterable[str], entry: str) -> str:
    """Return a module that is loaded after that of `link`.

    It exports `link`, which takes the modules `shared` and returns the exports of `entry`.
    """
    linked = "\n".join(_linked(path, text) for path, text in texts.items())
    names = ", ".join(map(_variable, shared))
    begin, end = f"export const link = ({{ {names} }}) => {{", f"return {_variable(entry)};\n}};"
    return compact_script(f"{begin}\n{linked}\n{end}\n")


def _linked(path: str, text: str) -> str:
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

    text = _LISTED.sub("", _DECLARED.sub("", _IMPORT.sub(imported, text)))
    if left := _LEFT.search(text):
        raise CannotLink(f"{path}: {left[0]}")
    body = text.strip("\n")
    returned = f"return {{ {', '.join(exports)} }};"
    return f"const {_variable(path)} = (() => {{\n{body}\n{returned}\n}})();\n"


def _variable(path: str) -> str:
    # Most modules are in rooms/: their names are shorter by it.
    return "$" + re.sub(r"\W", "_", path.removesuffix(".js").removeprefix("rooms/"))
