"""What depends on the language only, as scripts for each language.

`words` has the translations for scripts, the data of all rooms, and the elements that scripts
clone; `parts` has the elements of a bundle that is loaded on demand.
"""

import json
import posixpath
import re
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.views.i18n import JSONCatalog

from maru.assets.spaces import compact_script
from rooms.pages.script_data import acting_parts, cloned_parts, shared_data

_APPS: Final = ["rooms", "agents", "accounts", "maru"]
_SCRIPT: Final = """{
const words = WORDS;
const formOf = (n) => Number(PLURAL);
globalThis.gettext = (text) => words[text] ?? text;
globalThis.pgettext = (context, text) => words[`${context}\\x04${text}`] ?? text;
globalThis.ngettext = (one, many, n) => words[one]?.[formOf(n)] ?? (n === 1 ? one : many);
globalThis.sharedData = DATA;
globalThis.clonedParts = PARTS;
}"""


def names(folder: str) -> list[str]:
    """Return the paths of the scripts of all languages in `folder`."""
    return [
        posixpath.join(folder, f"{kind}.{code}.js")
        for kind in _BUILDERS
        for code, _ in settings.LANGUAGES
    ]


def build(path: str) -> str:
    """Return the script with one of the `names`."""
    kind, language, _suffix = posixpath.basename(path).split(".")
    with translation.override(language):
        return _BUILDERS[kind]()


def _words() -> str:
    """Return the script that defines the translations, `sharedData` and `clonedParts`."""
    catalog, plural = _catalog()
    script = compact_script(_SCRIPT.replace("PLURAL", plural))
    values = {
        "WORDS": _json(catalog),
        "DATA": _json(shared_data()),
        "PARTS": _literal(cloned_parts()),
    }
    return re.sub("|".join(values), lambda found: values[found[0]], script)


def _parts() -> str:
    """Return the module that `static/maru/on_demand.js` loads for bundles with parts."""
    return f"export const parts={_literal(acting_parts())};"


_BUILDERS: Final[dict[str, Callable[[], str]]] = {"words": _words, "parts": _parts}


def _json(value: Any) -> str:  # Any: a JSON value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _literal(html: str) -> str:
    """Return HTML as a template literal of JavaScript, which needs no escapes for quotes."""
    text = re.sub(r"\s*\n\s*", "\n", html)
    for sign in ("\\", "`", "${"):
        text = text.replace(sign, f"\\{sign}")
    return f"`{text}`"


def _catalog() -> tuple[dict[str, str | list[str]], str]:
    """Return the sentences that differ from their msgids, and the expression of plural forms."""
    request = HttpRequest()
    request.method = "GET"
    answer = JSONCatalog.as_view(packages=_APPS)(request)
    assert isinstance(answer, HttpResponse)
    data: dict[str, Any] = json.loads(answer.content)
    catalog: dict[str, str | list[str]] = data["catalog"]
    translated = {
        msgid: words
        for msgid, words in catalog.items()
        if words != msgid.rpartition("\x04")[2]  # behind the context
    }
    return translated, data["plural"] or "n !== 1"
