"""The bundles have every style sheet and module, and behave as the modules do."""

import re
import subprocess
from collections.abc import Callable, Mapping
from gzip import decompress
from pathlib import Path

import pytest
from pytest_django import Settings

from maru.assets import bundles, modules
from maru.assets.spaces import CannotRead, compact_script, compact_styles
from maru.assets.storages import Finder, SourceFiles
from tests.live import ROOT

STATIC = ROOT / "static"
TYPES = "rooms/protocol.js"
"""Has no code."""


def own_files(suffix: str) -> set[str]:
    found = (path.relative_to(STATIC).as_posix() for path in STATIC.rglob(f"*{suffix}"))
    return {path for path in found if not path.startswith("vendor/")}


def test_each_style_sheet_and_module_is_in_one_bundle() -> None:
    files = {name: list(bundles.sources(name, STATIC)) for name in bundles.names()}
    together = sorted(path for paths in files.values() for path in paths)

    assert together == sorted(own_files(".css") | own_files(".js") - {bundles.ALONE, TYPES})
    assert files[bundles.STYLES][0] == "css/base/tokens.css"
    assert files[bundles.SCRIPT][-1] == bundles.ENTRY
    for name, entry in bundles.ON_DEMAND.items():
        assert files[name][-1] == entry


@pytest.mark.parametrize(
    ("language", "words"), [("en", "# replies|# reply|Close|?"), ("ko", "답글 #|답글 #|닫기|?")]
)
def test_translations_for_scripts_are_a_collected_file_with_a_hashed_name(
    language: str, words: str
) -> None:
    name = f"bundles/words.{language}.js"
    storage = SourceFiles()

    file = storage.read(name)

    assert file is not None
    assert storage.url(name) == f"/static/bundles/words.{language}.{file.hash}.js"
    assert name in {path for path, _storage in Finder().list([])}
    words_used = """
      const replies = (n) => ngettext("%(count)s reply", "%(count)s replies", n);
      const all = [replies(2), replies(1), gettext("Close"), pgettext("none", "?")];
      console.log(all.join("|").replaceAll("%(count)s", "#"));
    """
    script = file.body.decode() + words_used
    run = ["node", "--eval", script]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == f"{words}\n"


def read(files: Mapping[str, str]) -> Callable[[str], str]:
    return lambda path: files[path]


def test_bundles_are_listed_without_building_them(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def build(bundle: str, _root: Path) -> str:
        built.append(bundle)
        return "text"

    monkeypatch.setattr(bundles, "build", build)

    storages = dict(Finder().list([]))
    assert built == []
    texts = [storages[bundles.SCRIPT].open(bundles.SCRIPT).read() for _ in range(2)]

    assert (texts, built) == ([b"text", b"text"], [bundles.SCRIPT])


def test_linked_modules_behave_as_modules() -> None:
    files = {
        "a/main.js": """
import { double, Thing as Other, LIMIT } from "../b/parts.js";
import {
  later,
} from "../b/more.js";

console.log([double(2), new Other().name, LIMIT, await later(), typeof hidden].join(" "));
""",
        "b/parts.js": """// @ts-check
/** Returns twice the number. @param {number} n @returns {import("./more.js").N} */
export function double(n) {
  return 2 * n;
}
const hidden = 1;
export class Thing {
  name = /** @type {string} */ ("thing");
}
export const LIMIT = hidden + 8;
""",
        "b/more.js": """import { double } from "./parts.js";
async function work() {
  return double(21);
}
export { work as later };
""",
    }

    linked = modules.link(modules.order("a/main.js", read(files)))

    script = linked.replace("(()=>{", "await (async()=>{")  # for the `await` of this test
    run = ["node", "--input-type=module", "--eval", script]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == (
        "4 thing 9 42 undefined\n"
    )
    assert "/**" not in linked


def test_script_that_is_loaded_later_has_the_modules_of_the_first_one() -> None:
    first = {
        "maru/on_demand.js": """
const given = {};
export function give(modules) {
  Object.assign(given, modules);
}
export const later = (link) => link(given);
""",
        "a/counter.js": """
const all = [];
export const count = (name) => all.push(name);
""",
        "a/page.js": """
import { later } from "../maru/on_demand.js";
import { count } from "./counter.js";
count("page");
globalThis.later = later;
""",
    }
    more = {
        "b/card.js": """
import { count } from "../a/counter.js";
export const twice = () => [count("one"), count("two")];
"""
    }
    linked = modules.link(first, ["a/counter.js"])
    later = modules.link_more(more, ["a/counter.js"], "b/card.js")

    begun = later.replace("export const link", "const link")
    script = f"{linked}\n{begun}\nconsole.log(globalThis.later(link).twice().join());"
    run = ["node", "--input-type=module", "--eval", script]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "2,3\n"


@pytest.mark.parametrize(
    ("script", "compact"),
    [
        ("const a = 1; // one\nlet b = a /* two */ + 2;\n", "const a=1;let b=a+2;"),
        ("/** @type {X} */ (a).b\n(c)\n", "(a).b\n(c)"),
        ("a = b++\n+ ++c - -d", "a=b++\n+ ++c- -d"),
        ("return /[\"'`/] *$/u.test(a) / 2 / b;", "return/[\"'`/] *$/u.test(a)/2/b;"),
        ("/ a/ in b", "/ a/ in b"),
        ("f(\"// no\", '/* no */');", "f(\"// no\",'/* no */');"),
        ('`a  ${ b ? `c  = ${ d }` : "`}" }  e` + 1', None),
        ("function f() {\n  g()\n}\nh()", "function f(){g()}\nh()"),
        ("f(a, [b,\n], {\n  c,\n});\nf('d,'\n, `e,`\n);", "f(a,[b],{c});f('d,',`e,`);"),
    ],
)
def test_compact_script_has_the_same_meaning(script: str, compact: str | None) -> None:
    assert compact_script(script) == (compact or script.replace("` + 1", "`+1"))


def test_literal_without_an_end_is_refused() -> None:
    with pytest.raises(CannotRead):
        compact_script("a = `b ${c}")


def test_compact_styles_keep_what_spaces_mean() -> None:
    styles = """
/* A comment; with a sign. */
.a :hover > .b,
.c {
  width: calc(1px + 2px);
  content: " {;} ";
}

@media (width >= 768px) and (hover: none) { .d { color: red; } }
"""

    assert compact_styles(styles) == (
        '.a :hover>.b,.c{width:calc(1px + 2px);content:" {;} "}'
        "@media (width>= 768px) and (hover:none){.d{color:red}}"
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('import * as all from "./b.js";\n', "import [*] as all"),
        ('export { one } from "./b.js";\n', "export { one } from"),
        ("export default 1;\n", "export default"),
        ("export let count = 0;\n", "export let"),
        ('import { a } from "./a.js";\n', "imports itself"),
    ],
)
def test_unsupported_module_is_refused(text: str, error: str) -> None:
    files = {"a.js": text, "b.js": "export const one = 1;\n"}

    with pytest.raises(modules.CannotLink, match=error):
        modules.link(modules.order("a.js", read(files)))


def test_name_follows_the_content_and_an_edit_needs_no_restart(
    tmp_path: Path, settings: Settings
) -> None:
    (tmp_path / "css/base").mkdir(parents=True)
    (tmp_path / "maru").mkdir()
    for path in bundles.sources(bundles.STYLES, STATIC):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    (tmp_path / "chevron.svg").write_text("<svg></svg>")
    sidebar = tmp_path / "css/base/sidebar.css"
    sidebar.write_text('.row { background: url("../../chevron.svg"); }')
    settings.STATICFILES_DIRS = [tmp_path]
    storage = SourceFiles()

    first = storage.url(bundles.STYLES)
    file = storage.read(bundles.STYLES)

    assert file is not None
    assert first == f"/static/bundles/maru.{file.hash}.css"
    assert decompress(file.gzipped) == file.body
    assert b'url("/static/chevron.' in file.body
    assert storage.url(bundles.STYLES) == first
    sidebar.write_text(".row { color: red; }")
    (tmp_path / "css/base/new.css").write_text(".new { color: blue; }")
    second = storage.read(bundles.STYLES)
    assert second is not None
    assert b".new" in second.body
    assert storage.url(bundles.STYLES) != first


@pytest.mark.parametrize("language", ["en", "ko"])
def test_scripts_of_a_language_have_each_element_that_scripts_clone(language: str) -> None:
    scripts = [path.read_text() for path in (STATIC / "rooms").rglob("*.js")]
    cloned = {
        name
        for script in scripts
        for name in re.findall(r'\b(?:clone\(|neededPart\(\w+, )"([\w-]+)"', script)
    }
    built = [bundles.build(f"bundles/{kind}.{language}.js", STATIC) for kind in ("words", "parts")]

    made = {
        name for text in built for name in re.findall(r'<template id="template-([\w-]+)"', text)
    }

    assert cloned - made == {"thread"}  # which names its room, so the page has it
    assert {"user", "persona", "approval", "question"} <= made
    assert not any("/static/" in text or "csrfmiddlewaretoken" in text for text in built)
    assert all(bool(re.search("[가-힣]", text)) == (language == "ko") for text in built)
