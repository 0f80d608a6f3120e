"""Maps each failure of a provider call to an `AnswerFailed` with a code and a reason.

Exception texts and response bodies are neither shown nor logged: they can quote keys.
"""

import re
from contextlib import suppress
from email.utils import parsedate_to_datetime
from time import time
from typing import Final

import httpx
import structlog

from agents.engine.stream.chat import ErrorReport
from agents.engine_types import AnswerFailed, FailureReason

RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})
REFUSING_STATUSES: Final = frozenset({400, 401, 402, 403, 404, 422})
"""Statuses for a request that fails again in the same way, also if the error says "busy"."""
TRANSPORT_ERRORS: Final = (httpx.TransportError, OSError)

_PERMANENT: Final[tuple[FailureReason, ...]] = ("quota", "key", "model", "filter")
"""Kinds of errors that a retry cannot cure, in the order in which they are looked for."""

# Codes of errors in snake case. The first kind that matches counts: `throttling_quota` is busy.
_ERROR_KINDS: Final = {
    "busy": re.compile(
        r"rate_?limit|too_many_requests|throttl|over_?load|exhausted|time_?out|timed_out|unavailable"
        r"|capacity|busy|insufficient_system|temporar|try_again"
    ),
    "quota": re.compile(
        r"quota|insufficient_(?:balance|credit|fund)|billing|payment|arrear|out_of_credit|no_credit"
        r"|credit_balance|budget"
    ),
    "key": re.compile(
        r"api_?key|authenti|authoriz|unauthor|permission|forbidden|access_?denied|credential"
        r"|(?:invalid|expired)_(?:access_)?token|token_(?:invalid|expired)"
        r"|account_(?:deactivated|disabled|suspended)"
    ),
    "model": re.compile(
        r"(?:unknown|invalid|unsupported|no_such)_model|(?:model|deployment)\w*_not_(?:found|exist"
        r"|supported)|model_?not_?(?:found|exist)|not_found"
    ),
    "filter": re.compile(
        r"content_(?:filter|policy)|safety|moderation|data_inspection|prohibited|guardrail|sensitive"
        r"|responsible_ai"
    ),
}
_REQUEST_WORDS: Final = re.compile(
    r"bad_request|invalid|validation|unprocessable|unsupported|context_length|too_large|missing"
    r"|precondition|out_of_range"
)

# Finish reasons in snake case.
_COMPLETE: Final = re.compile(
    r"stop(?:ped|_sequence|_token)?|end(?:_turn|_of_turn|_of_text)?|eos(?:_token)?(?:_id)?"
    r"|completed?|finish(?:ed)?|done|success|normal|tool_calls?|tool_use|function_calls?"
)
_LENGTH_ENDS: Final = re.compile(
    r"length|max_\w*token|maxtoken|token_?limit|max_\w*output|context_window|limit_reached"
    r"|^max_tokens?$"
)
_FILTER_ENDS: Final = re.compile(
    r"filter|safety|unsafe|guardrail|moderat|prohibit|block|refus|sensitive|recitation|policy|spii"
    r"|censor|violation|flagged"
)
_ERROR_ENDS: Final = re.compile(
    r"error|abort|cancel|time_?out|timed_out|fail|exception|insufficient|over_?load|unavailable"
    r"|network|interrupt|malformed|disconnect|unexpected|rate_?limit|throttl|incomplete|exhausted"
    r"|evict|preempt|killed|crash"
)
_WORD: Final = re.compile(r"[a-z_]{1,40}")

log = structlog.get_logger(__name__)


class CallAborted(BaseException):
    """Ends a provider call at once.

    Derived from BaseException, because CrewAI retries, wraps and logs ordinary exceptions.
    """

    def __init__(self, failure: AnswerFailed) -> None:
        super().__init__(failure.code)
        self.failure = failure


def from_error(
    report: ErrorReport, status: int | None = None, retry_after: float | None = None
) -> AnswerFailed:
    """Return the failure for an error that the provider reports: in a response with an HTTP
    `status`, or inside a stream.

    A word for a permanent error counts more than a number: providers send `insufficient_quota` with
    429, and a retry would not help. A word for a busy provider counts less than a refusing number:
    404 with `model_unavailable` is permanent. Gateways send status 200 before the request has been
    processed, and report the actual status in the error. Without any of these, the text decides.
    """
    kinds = {kind for word in report.words if (kind := _kind(word))}
    for reason in _PERMANENT:
        if reason in kinds:
            return AnswerFailed("provider_refused", reason)
    number = report.status or status
    if "busy" in kinds and number not in REFUSING_STATUSES:
        return AnswerFailed("provider_unavailable", retry_after=retry_after)
    if number:
        return _from_number(number, retry_after)
    if any(_REQUEST_WORDS.search(_normalise(word)) for word in report.words):
        return AnswerFailed("provider_refused")
    kind = _kind(report.message)
    if kind in _PERMANENT:
        return AnswerFailed("provider_refused", kind)
    return AnswerFailed("provider_unavailable", retry_after=retry_after)


def _from_number(status: int, retry_after: float | None) -> AnswerFailed:
    if status in RETRYABLE_STATUSES or status >= 500:
        return AnswerFailed("provider_unavailable", retry_after=retry_after)
    if status in (401, 403):
        return AnswerFailed("provider_refused", "key")
    if status == 402:
        return AnswerFailed("provider_refused", "quota")
    if status == 404:
        return AnswerFailed("provider_refused", "model")
    return AnswerFailed("provider_refused")


def from_finish_reason(reason: str | None) -> AnswerFailed | None:
    """Return the failure for the provider's `finish_reason`, or None for a complete answer.

    An unknown word is logged and means a complete answer.
    """
    if reason is None:
        return AnswerFailed("truncated")
    word = _normalise(reason)
    word = word.removeprefix("finish_reason_").removeprefix("finishreason_")
    if _COMPLETE.fullmatch(word):
        return None
    if _FILTER_ENDS.search(word):
        return AnswerFailed("provider_refused", "filter")
    if _LENGTH_ENDS.search(word):
        return AnswerFailed("too_long")
    if _ERROR_ENDS.search(word):
        return AnswerFailed("provider_unavailable")
    # Logged only if it looks like a word: a provider can send any text here.
    log.info("answer.unknown_finish_reason", reason=word if _WORD.fullmatch(word) else "?")
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


def _kind(word: str) -> str | None:
    """Return what an error code means: a key of `_PERMANENT`, "busy", or None."""
    plain = _normalise(word)
    return next((kind for kind, pattern in _ERROR_KINDS.items() if pattern.search(plain)), None)


def _normalise(word: str) -> str:
    """Return the word in snake case: `maxTokens`, `MAX-TOKENS` and `max tokens` are the same."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word.strip()[:1000])
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")
