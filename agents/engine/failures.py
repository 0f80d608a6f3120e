"""What went wrong, as the room is told: by code and sentence, never in the words of a library.

Texts of exceptions and bodies of providers are not passed on and not logged: they quote keys.
"""

from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from time import time
from typing import Final

import httpx
from django.utils.translation import gettext as _

from agents.engine_types import AnswerFailed

TRY_AGAIN: Final = frozenset({408, 425, 429})
TRANSPORT: Final = (httpx.TransportError, OSError)


class Halt(BaseException):
    """Ends a call at once. CrewAI and the SDK retry, wrap and log any ordinary exception."""

    def __init__(self, failure: AnswerFailed) -> None:
        super().__init__(failure.code)
        self.failure = failure


def of_status(status: int, retry_after: float | None = None) -> AnswerFailed:
    """Return what a provider's answer with this status (300 and above) means."""
    if status in TRY_AGAIN or status >= 500:
        return AnswerFailed("provider_unavailable", retry_after=retry_after)
    if status in (401, 403):
        detail = _("The model's provider refuses this connection's key. Ask an admin to check it.")
        return AnswerFailed("provider_refused", detail)
    if status == 404:
        detail = _("The model's provider does not know this model. Ask an admin to check its name.")
        return AnswerFailed("provider_refused", detail)
    return AnswerFailed("provider_refused")


def of_error(error: object) -> AnswerFailed:
    """Return what an error object inside a stream means: gateways say 200 before they know."""
    told = error if isinstance(error, dict) else {}
    code = str(told.get("code"))
    if code.isdigit() and 300 <= int(code) <= 599:
        return of_status(int(code))
    return of_status(400 if told.get("type") == "invalid_request_error" else 502)


def of_exception(error: Exception, *, answering: bool) -> AnswerFailed | None:
    """Return what an exception out of a call means, or None where the fault must be our own.

    Once the provider is `answering`, what is not a broken connection is something unreadable.
    """
    if any(isinstance(link, TRANSPORT) for link in _chain(error)):
        return AnswerFailed("provider_unavailable")
    return AnswerFailed("provider_garbled") if answering else None


def of_finish(reason: str | None) -> AnswerFailed | None:
    """Return what the provider's reason for ending means, or None if it ended as it should."""
    if reason is None:
        return AnswerFailed("truncated")
    if reason.lower() in ("length", "max_tokens", "model_length"):
        return AnswerFailed("too_long")
    if reason == "content_filter":
        return AnswerFailed("provider_refused", _("The model's provider withheld this answer."))
    return None


def seconds_to_wait(headers: httpx.Headers) -> float | None:
    """Return what `Retry-After` asks for: seconds, or a date."""
    value = headers.get("retry-after", "")
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
