"""The welcome of a new member: a sentence, and questions that the member can ask."""

from django.utils.translation import gettext as _

from accounts.particles import fill


def welcome_words(name: str, persona: str) -> str:
    """Return the sentence for a member; `persona` is who answers in the room, or empty."""
    if not persona:
        return fill(_("Welcome, %(name)s. Write here, and call people with @."), {"name": name})
    sentence = _("Welcome, %(name)s. %(persona)s answers what you ask here; call people with @.")
    return fill(sentence, {"name": name, "persona": persona})


def starters() -> list[str]:
    """Return the questions in the reader's language."""
    return [
        _("What happened here this week?"),
        _("What can you help me with?"),
        _("Who can help me with what?"),
    ]
