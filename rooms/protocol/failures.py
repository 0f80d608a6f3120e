"""The sentences of failed answers, worded when they are shown, in the language of the reader.

A run stores a code, a reason and a name. REST and pages word them here; the scripts of the page get
the sentences of their reader in a script, because an event is the same for all readers.
"""

from collections.abc import Mapping
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from agents.engine_types import FAILURE_SENTENCES, REASON_SENTENCES

INTERRUPTED: Final = "interrupted"
ASKER_DELETED: Final = "asker_deleted"
ASKER_MAY_NOT_POST: Final = "asker_may_not_post"
ASKER_MAY_NOT_USE: Final = "asker_may_not_use"
PERSONA_OFF: Final = "persona_off"
PERSONA_UNBOUND: Final = "persona_unbound"
PERSONA_MUTED: Final = "persona_muted"
KEY_REMOVED: Final = "key_removed"

SENTENCES: Final[Mapping[str, str | Promise]] = {
    **{str(code): sentence for code, sentence in FAILURE_SENTENCES.items()},
    **{str(reason): sentence for reason, sentence in REASON_SENTENCES.items()},
    INTERRUPTED: _("The server interrupted this answer several times. Try again in a few minutes."),
    ASKER_DELETED: _("The person who asked no longer has an account."),
    ASKER_MAY_NOT_POST: _("The person who asked can no longer write in this room."),
    ASKER_MAY_NOT_USE: _("The person who asked can no longer use %(persona)s."),
    PERSONA_OFF: _("%(persona)s is switched off. Ask a team admin to switch it on."),
    PERSONA_UNBOUND: _("%(persona)s is no longer in this room."),
    PERSONA_MUTED: _("%(persona)s is muted in this room."),
    KEY_REMOVED: _("The key of %(persona)s was removed. Ask a team admin to add a new key."),
}
"""Sentences of codes and of reasons, which may have a `%(persona)s`."""


def failure_sentence(code: str, reason: str = "", persona: str = "") -> str:
    """Return the sentence of a reason, else of its code, in the active language."""
    sentence = SENTENCES.get(reason) or SENTENCES.get(code) or SENTENCES["internal"]
    return str(sentence) % {"persona": persona}


def failure_sentences() -> dict[str, str]:
    """Return all sentences in the active language, by reason or code."""
    return {key: str(sentence) for key, sentence in SENTENCES.items()}
