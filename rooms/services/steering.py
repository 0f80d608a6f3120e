"""Steers an answer while it is being made."""

from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from accounts import rate_limits
from accounts.errors import Conflict, Invalid, TooLarge
from accounts.models import User
from accounts.names import is_blank
from rooms.models import ACTIVE, Run, Steer
from rooms.permissions import POST, access_run, lock_room
from rooms.runs.steps import accepted_lines

ENDED: Final = _("This answer has ended. Reply to it instead.")


@transaction.atomic
def steer_run(*, user: User, run_id: UUID, text: str) -> Steer:
    """Accept a line to the answer of an active run; the next request to its model contains it.

    Mentions in the text have no effect. Raises Conflict for a run that has ended or has
    accepted_lines.MAX_LINES lines, Invalid for a blank text, TooLarge, or RateLimited.
    """
    room = lock_room(user, access_run(user, run_id, POST).room_id, POST)
    text = clean_text(text)
    rate_limits.consume(rate_limits.SEND, user, room_id=room.pk, team_id=room.team_id)
    run = Run.objects.select_for_update(of=("self",)).select_related("answer").get(pk=run_id)
    if run.state not in ACTIVE:
        raise Conflict(ENDED)
    author = User.objects.get(pk=user.pk)  # a connection has its user from the handshake
    return accepted_lines.add(room, run, author, text)


def clean_text(text: str, most: int = accepted_lines.MAX_CHARACTERS) -> str:
    """Return a text of a person without white space around it; raises TooLarge or Invalid."""
    if len(text) > most:
        raise TooLarge(_("The text is longer than %(most)s characters.") % {"most": f"{most:,}"})
    if is_blank(text) or "\x00" in text:
        sentence = _("The text is empty. Write something first.")
        raise Invalid(sentence, fields={"text": sentence})
    return text.strip()
