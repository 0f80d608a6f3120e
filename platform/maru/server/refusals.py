"""Responses that the server itself writes, for requests that never reach the application."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from django.http import HttpRequest, parse_cookie
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.errors import Invalid, RateLimited, TooLarge, Unavailable
from maru.server.request_ids import HEADER, new_id
from rooms import metrics

Headers = Sequence[tuple[bytes, bytes]]

SLOW = _("The request did not arrive in time. Check your connection and try again.")
_SENTENCES: dict[str, str | Promise] = {
    "invalid": Invalid.default_detail,
    "rate_limited": RateLimited.default_detail,
    "too_large": TooLarge.default_detail,
    "unavailable": Unavailable.default_detail,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request or a connection is refused: status, code for programs, label of the metric."""

    status: HTTPStatus
    code: str
    reason: str
    retry_after: int | None = None
    detail: str | Promise | None = None

    def __post_init__(self) -> None:
        metrics.REFUSED.labels(self.reason)  # the series exists before the first refusal

    def response(self, path: str, headers: Headers) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return headers and body: JSON for the API, one sentence for pages."""
        with translation.override(_language(headers)):
            sentence = str(self.detail or _SENTENCES[self.code])
        if path.startswith("/api/"):
            kind = b"application/json"
            body = orjson.dumps({"code": self.code, "detail": sentence})
        else:
            kind, body = b"text/plain; charset=utf-8", f"{sentence}\n".encode()
        return [*_fixed(kind, len(body)), *self._retry()], body

    def _retry(self) -> Iterable[tuple[bytes, bytes]]:
        if self.retry_after is not None:
            yield b"retry-after", str(self.retry_after).encode()


def _fixed(kind: bytes, length: int) -> Headers:
    return [
        (b"content-type", kind),
        (b"content-length", str(length).encode()),
        (b"cache-control", b"private, no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
        (HEADER, new_id()),
    ]


def _language(headers: Headers) -> str:
    """Return the language of the user's cookie, else of Accept-Language, else the default."""
    request = HttpRequest()
    for name, value in headers:
        if name == b"accept-language":
            request.META["HTTP_ACCEPT_LANGUAGE"] = value.decode("latin-1")
        elif name == b"cookie":
            request.COOKIES = parse_cookie(value.decode("latin-1"))
    return translation.get_language_from_request(request)
