"""Scripts: no cycle in their imports, because the bundle has each module behind those it imports.

JSDoc comments are not a part of the bundle: types may refer to each other.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from tests.codebase.test_layout import files, text_of

IMPORTED = re.compile(r"""(?:\bfrom\s*|\bimport\s*\(?\s*)["'](\.[^"']+)["']""")

JSDOC = re.compile(r"/\*\*.*?\*/", re.DOTALL)


def imports() -> dict[str, set[str]]:
    """Return the scripts of static/ with the scripts that each of them imports."""
    return {
        path: {os.path.normpath(Path(path).parent / name) for name in names}
        for path in files()
        if path.startswith("static/") and path.endswith(".js") and "/vendor/" not in path
        for names in [IMPORTED.findall(JSDOC.sub("", text_of(path)))]
    }


def cycle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the scripts of one cycle, or an empty list."""
    done: set[str] = set()

    def visit(path: str, above: list[str]) -> list[str]:
        if path in above:
            return above[above.index(path) :]
        if path in done:
            return []
        done.add(path)
        return next(filter(None, (visit(one, [*above, path]) for one in graph.get(path, ()))), [])

    return next(filter(None, (visit(path, []) for path in graph)), [])


def test_imports_of_scripts_have_no_cycle() -> None:
    graph = imports()

    assert "static/rooms/room_state.js" in graph
    assert cycle_in(graph) == []


def test_cycle_of_imports_is_found() -> None:
    graph = {"a.js": {"b.js"}, "b.js": {"c.js"}, "c.js": {"d.js", "b.js"}, "d.js": set()}

    assert sorted(cycle_in(graph)) == ["b.js", "c.js"]
    text = '/** @typedef {import("../x.js").X} X */ import { y } from "./y.js";'
    assert IMPORTED.findall(JSDOC.sub("", text)) == ["./y.js"]
