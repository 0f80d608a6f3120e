"""The word that all members read behind the title of a failed call.

It is stored and broadcast in English, once for all readers, and translated when it is shown. No
server and no model has written any of these words.
"""

from typing import Final

from django.utils.translation import gettext_noop as _

FAILURE_WORDS: Final = frozenset(
    {
        _("address not allowed"),
        _("server changed"),
        _("unreachable"),
        _("connection lost"),
        _("sign-in refused"),
        _("access refused"),
        _("session ended"),
        _("not found"),
        _("moved"),
        _("busy"),
        _("failed"),
        _("too large"),
        _("unreadable"),
        _("timeout"),
        _("needs a sign-in"),
        _("not for guests"),
        _("changed"),
        _("error"),
        _("refused"),
    }
)
