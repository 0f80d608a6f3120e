"""Imports between the modules of the pages form no cycle."""

import re
from graphlib import TopologicalSorter
from os.path import normpath
from pathlib import Path

# Django rewrites the imports inside JSDoc types as well, and never ends where they form a cycle.
IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""")


def test_modules_of_the_pages_do_not_import_each_other_in_a_cycle(root: Path) -> None:
    imports = {
        str(module): [normpath(module.parent / name) for name in IMPORT.findall(module.read_text())]
        for module in (root / "static").rglob("*.js")
    }

    assert len(tuple(TopologicalSorter(imports).static_order())) >= len(imports) > 10
