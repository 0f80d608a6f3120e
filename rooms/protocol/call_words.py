"""Words tool calls for their reader.

A call is stored and broadcast once for all readers, so the title of a tool of our own and the words
of its result are in English there, with what is needed to word them again: `own` and `answers`.
Pages and the REST endpoints of calls use these functions; the scripts of the page get the words of
their reader in the script of the language. The title of another tool is that of its server.
"""

from typing import Final

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from msgspec import UNSET

from agents.tools.catalog import CATALOG, OWN_TOOLS
from agents.tools.failure_words import FAILURE_WORDS
from rooms.models import CallState, ToolCall
from rooms.protocol.payloads import ApprovalBody, Step

ASK_PEOPLE: Final = next(tool.id for tool in CATALOG if tool.key == "ask_people")
_OWN: Final = {tool.key: tool for tool in CATALOG}


def shown_title(name: str, title: str, *, own: bool) -> str:
    """Return the title of a tool in the active language; `own` says that it is one of ours.

    Another tool may have the name of ours, but never its title.
    """
    return _OWN[name].shown_title if own and name in _OWN else title


def title_of(call: Step | ApprovalBody) -> str:
    """Return the title of a call in the active language."""
    return shown_title(call.tool, call.title, own=call.own is True)


def title_of_row(call: ToolCall) -> str:
    """Return the title of a call in the active language."""
    return shown_title(call.name, call.title, own=call.tool in OWN_TOOLS)


def result_of(step: Step) -> str:
    """Return the result of a call for all members in the active language; "" without one."""
    if step.answers is not UNSET:
        return _answers(step.answers)
    if step.state == CallState.FAILED and step.result in FAILURE_WORDS:
        return _(step.result)
    return step.result or ""


def number_of_answers(call: ToolCall) -> int | None:
    """Return how many people have answered the question of a call; None for another call."""
    is_answered = call.tool == ASK_PEOPLE and call.state == CallState.DONE
    return int(call.short) if is_answered and call.short.isdecimal() else None


def answers_in_english(count: int) -> str:
    """Return the result of a question as it is broadcast."""
    with translation.override(settings.LANGUAGE_CODE):
        return _answers(count)


def words_for_scripts() -> dict[str, dict[str, str]]:
    """Return the titles of our own tools by their name, and the words of failures, translated.

    Those that are the same in English are left out: events have them.
    """
    titles = {tool.key: (tool.title, tool.shown_title) for tool in CATALOG}
    results = {word: (word, _(word)) for word in sorted(FAILURE_WORDS)}
    return {
        kind: {key: shown for key, (english, shown) in pairs.items() if shown != english}
        for kind, pairs in (("titles", titles), ("results", results))
    }


def _answers(count: int) -> str:
    if count == 0:
        return _("no answer")
    return ngettext("%(count)s answer", "%(count)s answers", count) % {"count": count}
