"""Maps each failure of a provider call to an `AnswerFailed` with a code and a sentence.

Exception texts and response bodies are neither shown nor logged: they can quote keys.
"""

from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from time import time
from typing import Final

import httpx
from django.utils.translation import gettext as _

from agents.engine_types import AnswerFailed

RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})
TRANSPORT_ERRORS: Final = (httpx.TransportError, OSError)


class CallAborted(BaseException):
    """Ends a provider call at once.

    Derived from BaseException, because CrewAI and the OpenAI SDK retry, wrap and log every
    ordinary exception.
    """

    def __init__(self, failure: AnswerFailed) -> None:
        super().__init__(failure.code)
        self.failure = failure


def from_status(status: int, retry_after: float | None = None) -> AnswerFailed:
    """Return the failure for a response with this status, 300 or above."""
    if status in RETRYABLE_STATUSES or status >= 500:
        return AnswerFailed("provider_unavailable", retry_after=retry_after)
    if status in (401, 403):
        detail = _(
            "The model provider refused the key of this connection. Ask a team admin to check it."
        )
        return AnswerFailed("provider_refused", detail)
    if status == 404:
        detail = _(
            "The model provider does not know this model. Ask a team admin to check its name."
        )
        return AnswerFailed("provider_refused", detail)
    return AnswerFailed("provider_refused")


def from_error(error: object) -> AnswerFailed:
    """Return the failure for an `error` object inside a stream.

    Gateways send status 200 before the request has been processed, and report the actual status in
    this object.
    """
    fields = error if isinstance(error, dict) else {}
    code = str(fields.get("code"))
    if code.isdigit() and 300 <= int(code) <= 599:
        return from_status(int(code))
    return from_status(400 if fields.get("type") == "invalid_request_error" else 502)


def from_exception(error: Exception, *, response_started: bool) -> AnswerFailed | None:
    """Return the failure for an exception of a call, or None if the fault is in our own code.

    After the response has started, every error except a broken connection means that the SDK or
    CrewAI could not parse the response.
    """
    if any(isinstance(cause, TRANSPORT_ERRORS) for cause in _causes(error)):
        return AnswerFailed("provider_unavailable")
    return AnswerFailed("provider_garbled") if response_started else None


def from_finish_reason(reason: str | None) -> AnswerFailed | None:
    """Return the failure for the provider's `finish_reason`, or None for a complete answer."""
    if reason is None:
        return AnswerFailed("truncated")
    if reason.lower() in ("length", "max_tokens", "model_length"):
        return AnswerFailed("too_long")
    if reason == "content_filter":
        return AnswerFailed(
            "provider_refused",
            _(
                "A filter of the model provider blocked this answer. "
                "Rephrase your question and try again."
            ),
        )
    return None


def parse_retry_after(headers: httpx.Headers) -> float | None:
    """Return the delay of `Retry-After` in seconds, or None (RFC 9110 §10.2.3).

    The value is a number of seconds or an HTTP date.
    """
    value = headers.get("retry-after", "")
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and its causes; `seen` ends a chain that loops."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
