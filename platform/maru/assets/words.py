"""The translations for scripts, as a script for each language."""

import json
import posixpath
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.views.i18n import JSONCatalog

from maru.assets.spaces import compact_script

_APPS: Final = ["rooms", "agents", "accounts", "maru"]
_SCRIPT: Final = """{
const words = WORDS;
const formOf = (n) => Number(PLURAL);
globalThis.gettext = (text) => words[text] ?? text;
globalThis.pgettext = (context, text) => words[`${context}\\x04${text}`] ?? text;
globalThis.ngettext = (one, many, n) => words[one]?.[formOf(n)] ?? (n === 1 ? one : many);
}"""


def names(folder: str) -> dict[str, str]:
    """Return the path of the script of each language in `folder`, with the language."""
    return {posixpath.join(folder, f"words.{code}.js"): code for code, _ in settings.LANGUAGES}


def build(language: str) -> str:
    """Return the script that defines `gettext`, `pgettext` and `ngettext` for a language."""
    catalog, plural = _catalog(language)
    script = _SCRIPT.replace("PLURAL", plural).replace("WORDS", "{}")
    words = json.dumps(catalog, ensure_ascii=False, separators=(",", ":"))
    return compact_script(script).replace("{}", words, 1)


def _catalog(language: str) -> tuple[dict[str, str | list[str]], str]:
    """Return the sentences that differ from their msgids, and the expression of plural forms."""
    request = HttpRequest()
    request.method = "GET"
    with translation.override(language):
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
